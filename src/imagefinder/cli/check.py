"""``imagefinder check``: verify a collection and repair damage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.session import OK, UNFINISHED, CollectionOption, JsonOption, settings
from imagefinder.core.serialization import to_json

if TYPE_CHECKING:
    from imagefinder.core.records import CheckReport

HELP = """\
The check covers the database, the checksums of features, records and thumbnails, the counts, and derived data such
as indexes. Other processes may search and add images meanwhile.

--repair drops damaged data, which the next add recomputes, and rebuilds indexes and counts. If the database itself
is damaged, all readable data is saved to a new database, and the damaged one is kept next to it; that requires
exclusive access to the collection.

  imagefinder check
  imagefinder check --repair
  imagefinder -c shop.collection check --json

Exit codes: 0 no damage, or all damage repaired; 1 damage remains; 5 no collection found, or nothing can be
recovered."""

_SHOWN = 20


def check(
    context: typer.Context,
    repair: Annotated[bool, typer.Option("--repair", help="Repair the damage that is found.")] = False,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Check the collection and report all damage."""
    from imagefinder import wiring  # noqa: PLC0415 - fast start

    with output.counter("checking", of_bytes=False) as progress:
        report = wiring.check_collection(
            settings(context, collection=collection), repair=repair, progress=progress
        )
    if as_json:
        output.document(to_json(report))
    else:
        _print(report, repair=repair)
    return UNFINISHED if report.left else OK


def _print(report: CheckReport, *, repair: bool) -> None:
    seconds = output.duration(report.seconds)
    if report.sound:
        checked = output.plural(report.images, "image")
        output.line(f"no damage found: {checked} checked in {seconds} ({report.location})")
        return
    output.table(
        ("damaged", "problem", "repair"),
        [(damage.kind, damage.message, damage.repaired or "-") for damage in report.damages[:_SHOWN]],
        prose=("problem", "repair"),
    )
    rest = len(report.damages) - _SHOWN
    if rest > 0:
        output.line(f"{rest} more not shown; list all with: imagefinder check --json")
    output.line()
    output.line(
        f"{output.plural(len(report.damages), 'problem')} found, {len(report.left)} not repaired; "
        f"checked in {seconds} ({report.location})"
    )
    if report.left and not repair:
        output.note("hint: copy the collection's folder first, then run: imagefinder check --repair")
