"""``imagefinder build-index``: build, update or verify the ANN indexes of a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.session import OK, UNFINISHED, CollectionOption, JsonOption, open_collection
from imagefinder.core.serialization import to_json

if TYPE_CHECKING:
    from imagefinder.core.records import IndexReport

HELP = """\
An approximate nearest-neighbour (ANN) index shortlists the candidates of a fast search. New images are indexed and
removed images are masked; existing entries stay as they are. imagefinder add does this for large collections. The
indexes are derived from the stored features: the subfolder index/ of the collection can be deleted at any time.

  imagefinder build-index
  imagefinder build-index --rebuild
  imagefinder build-index --verify

Exit codes: 0 success; 1 --verify found a problem, which --rebuild fixes."""


def build_index(
    context: typer.Context,
    *,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Discard the indexes, train new ones, and index all images again.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare the indexes with the stored features; change nothing.")
    ] = False,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Build or verify the indexes, and report their state."""
    if rebuild and verify:
        raise typer.BadParameter("--rebuild and --verify exclude each other")
    with open_collection(context, collection) as opened:
        if verify:
            report = opened.verify_index()
        else:
            labels = {name: f"indexing {name}" for name in opened.info().methods}
            with output.stage_bar(labels) as progress:
                report = opened.rebuild_index(progress, rebuild=rebuild)
    if as_json:
        output.document(to_json(report))
    else:
        _print(report, verified=verify)
    return UNFINISHED if report.problems else OK


def index(
    context: typer.Context,
    *,
    rebuild: Annotated[bool, typer.Option("--rebuild")] = False,
    verify: Annotated[bool, typer.Option("--verify")] = False,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Run ``build-index`` under its old name, ``index``; deprecated."""
    output.note("warning: `imagefinder index` is deprecated; use `imagefinder build-index`")
    return build_index(context, rebuild=rebuild, verify=verify, collection=collection, as_json=as_json)


def _print(report: IndexReport, *, verified: bool) -> None:
    output.table(
        ("method", ">images", ">indexed", ">size", ">per image", ">segments"),
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
    if report.problems:
        outcome = f"{output.plural(len(report.problems), 'problem')} found"
    else:
        outcome = "no problems found" if verified else "indexes updated"
    output.line(f"{outcome} in {output.duration(report.seconds)}")
    if report.problems:
        output.note("hint: run: imagefinder build-index --rebuild")
