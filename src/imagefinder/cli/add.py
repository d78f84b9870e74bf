"""``imagefinder add``: add images to a collection."""

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

HELP = """Add images to the collection.

A SOURCE is an image, a folder (including subfolders), an archive (zip, tar), a list (.csv or .jsonl with the
columns url and id) or a URL. The id of an image is its path inside the source, or the id given in the list.

Adding a source again skips unchanged images, replaces changed ones and retries failed ones. Ctrl-C stops cleanly:
completed work is saved, and the next run continues from there.

  imagefinder add ~/Pictures
  imagefinder add photos.zip dataset.csv -m sift -m efficientnet-lite0
  imagefinder add ~/Pictures --prune
  imagefinder -c shop.collection add feed.jsonl --json

Exit codes: 0 all images added; 1 some images failed; 130 interrupted."""

_FAILURES_SHOWN = 10


def add(
    context: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE", help="Image, folder, archive, list or URL to add.", show_default=False),
    ],
    *,
    methods: MethodsOption = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Also remove images that no longer exist in these sources.")
    ] = False,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Add images and report the result."""
    with open_collection(context, collection, create=True) as opened:
        with stop_on_signal() as stop, output.progress_bar("adding") as progress:
            report = opened.add(*sources, methods=methods, prune=prune, progress=progress, stop=stop)
        if not report.interrupted and (report.added or report.replaced or report.removed):
            with output.counter("calibrating scores", of_bytes=False) as calibrating:
                opened.calibrate(calibrating)
            if opened.is_large():
                labels = {name: f"indexing {name}" for name in opened.info().methods}
                with output.stage_bar(labels) as indexing:
                    opened.rebuild_index(indexing, rebuild=False)
        location = str(opened.settings.collection)
    if as_json:
        output.document({"collection": location, **to_json(report)})
    else:
        print_report(report, location)
    if report.interrupted:
        return INTERRUPTED
    return UNFINISHED if report.failures else OK


def print_report(report: AddReport, location: str, *, all_failures: str = "imagefinder info --failures") -> None:
    """Print the result of a run as text.

    Args:
        report: Result of the run.
        location: Folder of the collection.
        all_failures: Command that lists every failure; printed when the table is cut short.
    """
    done = report.added + report.replaced
    rate = f" ({done / report.seconds:.1f} images/s)" if done and report.seconds > 0 else ""
    output.line(
        f"{report.added} added, {report.replaced} replaced, {report.unchanged} unchanged, "
        f"{report.removed} removed, {len(report.failures)} failed in {output.duration(report.seconds)}{rate}"
    )
    output.line(f"collection: {location} (methods: {', '.join(report.methods)})")
    if report.skipped:
        output.line(f"skipped {output.plural(report.skipped, 'non-image file')}")
    if report.failures:
        shown = report.failures[:_FAILURES_SHOWN]
        output.line()
        output.table(
            ("failed image", "error", "message"),
            [(failure.id, failure.code, failure.message) for failure in shown],
        )
        rest = len(report.failures) - len(shown)
        if rest:
            output.line(f"{rest} more not shown; list all with: {all_failures}")
    for note in report.notes:
        output.note(note)
    if report.interrupted:
        output.note("interrupted: completed work is saved; run the same command again to continue")
