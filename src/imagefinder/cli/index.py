"""``imagefinder index``: make, bring up to date or check what fast searches need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.session import OK, UNFINISHED, CollectionOption, JsonOption, open_collection
from imagefinder.core.serialization import to_json

if TYPE_CHECKING:
    from imagefinder.core.records import IndexReport

HELP = """Bring the indexes of the collection up to date, which fast searches take their candidates from.

They are derived from the stored features and can be deleted at any time: the folder index/ of the collection.
Pictures that were added since are indexed, those that were removed are masked; nothing else is touched.

  imagefinder index
  imagefinder index --rebuild
  imagefinder index --verify

Exit codes: 0 done; 1 --verify found something wrong, and --rebuild mends it."""


def index(
    context: typer.Context,
    *,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Begin anew: learn from the collection as it is now, index all of it."),
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Change nothing; compare the indexes with the stored features.")
    ] = False,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Index, or verify, and tell what there is."""
    if rebuild and verify:
        raise typer.BadParameter("give --rebuild or --verify, and not both")
    with open_collection(context, collection) as opened:
        if verify:
            report = opened.verify_index()
        else:
            verbs = {name: f"indexing {name}" for name in opened.info().methods}
            with output.stage_bar(verbs) as progress:
                report = opened.rebuild_index(progress, rebuild=rebuild)
    if as_json:
        output.document(to_json(report))
    else:
        _tell(report, verified=verify)
    return UNFINISHED if report.problems else OK


def _tell(report: IndexReport, *, verified: bool) -> None:
    output.table(
        ("method", ">images", ">indexed", ">bytes", ">per image", ">parts"),
        [
            (
                state.method,
                str(state.images),
                str(state.indexed),
                output.size(state.bytes),
                output.size(state.bytes / state.indexed) if state.indexed else "",
                str(state.segments),
            )
            for state in report.indexes
        ],
    )
    output.line()
    for problem in report.problems:
        output.note(problem)
    done = "nothing wrong was found" if verified and not report.problems else "done"
    output.line(f"{done if not report.problems else 'not sound'} in {output.duration(report.seconds)}")
