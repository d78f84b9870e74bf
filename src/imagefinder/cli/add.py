"""``imagefinder add``: index pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.session import (
    INTERRUPTED,
    OK,
    UNFINISHED,
    CollectionOption,
    JsonOption,
    MethodsOption,
    open_collection,
    stop_on_signal,
)
from imagefinder.core.serialization import to_json

if TYPE_CHECKING:
    from imagefinder.indexing.progress import AddReport

HELP = """Index pictures, so that they can be searched.

A SOURCE is a picture, a folder (with all folders in it), an archive (zip, tar), a list (.csv or .jsonl with the
columns url and id) or a URL. The id of a picture is its path inside the source, or what the list says.

Adding the same again does nothing, quickly; a changed picture is replaced; what failed is tried again. Ctrl-C
stops cleanly: what was done stays, and the next run goes on from there.

  imagefinder add ~/Pictures
  imagefinder add photos.zip dataset.csv --method sift --method efficientnet-lite0
  imagefinder add ~/Pictures --prune
  imagefinder -c shop.collection add feed.jsonl --json

Exit codes: 0 all pictures are in; 1 some failed; 130 interrupted."""

_FAILURES_SHOWN = 10


def add(
    context: typer.Context,
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help="What to index.", show_default=False)],
    *,
    methods: MethodsOption = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove pictures that came from these sources and are gone from them.")
    ] = False,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Index pictures and tell what was done."""
    with open_collection(context, collection, create=True) as opened:
        with stop_on_signal() as stop, output.progress_bar("adding") as progress:
            report = opened.add(*sources, methods=methods, prune=prune, progress=progress, stop=stop)
        if not report.interrupted and (report.added or report.replaced or report.removed):
            with output.counter("learning what chance does here", of_bytes=False) as learning:
                opened.calibrate(learning)
            if opened.is_large():
                verbs = {name: f"indexing {name}" for name in opened.info().methods}
                with output.stage_bar(verbs) as indexing:
                    opened.rebuild_index(indexing, rebuild=False)
        place = str(opened.settings.collection)
    if as_json:
        output.document({"collection": place, **to_json(report)})
    else:
        tell(report, place)
    if report.interrupted:
        return INTERRUPTED
    return UNFINISHED if report.failures else OK


def tell(report: AddReport, place: str, *, all_failures: str = "imagefinder info --failures") -> None:
    """What a run did, for people; ``all_failures`` is where they find those that are not shown."""
    done = report.added + report.replaced
    rate = f", {done / report.seconds:.1f} per second" if done and report.seconds > 0 else ""
    output.line(
        f"{report.added} added, {report.replaced} replaced, {report.unchanged} unchanged, "
        f"{report.removed} removed, {len(report.failures)} failed in {output.duration(report.seconds)}{rate}"
    )
    output.line(f"collection: {place}  (methods: {', '.join(report.methods)})")
    if report.skipped:
        noun = (
            "file is no picture by its name and was"
            if report.skipped == 1
            else "files are no pictures by their names and were"
        )
        output.line(f"{report.skipped} {noun} passed over")
    if report.failures:
        shown = report.failures[:_FAILURES_SHOWN]
        output.line()
        output.table(
            ("failed", "why", "what happened"), [(failure.id, failure.code, failure.message) for failure in shown]
        )
        rest = len(report.failures) - len(shown)
        output.line((f"and {rest} more; " if rest else "") + f"all of them: {all_failures}")
    for note in report.notes:
        output.note(note)
    if report.interrupted:
        output.note("interrupted: what was done is kept; run the same command again to go on")
