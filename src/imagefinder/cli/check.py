"""``imagefinder check``: is the collection sound, and what can be mended?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.session import OK, UNFINISHED, CollectionOption, JsonOption, settings
from imagefinder.core.serialization import to_json

if TYPE_CHECKING:
    from imagefinder.core.records import CheckReport

HELP = """Look at everything in the collection: tables and indexes, the checksums of features, records and
thumbnails, counts, and what is derived. Others may search and add meanwhile.

With --repair what is damaged is dropped, so that the next add makes it again; indexes and counts are made anew.
If the tables themselves are damaged, all that can be read is saved into a new database, and the damaged one stays
beside it; that needs the collection for itself.

  imagefinder check
  imagefinder check --repair
  imagefinder -c shop.collection check --json

Exit codes: 0 sound, or all was mended; 1 damage is left; 5 there is no collection, or nothing of it can be
saved."""

_SHOWN = 20


def check(
    context: typer.Context,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended.")] = False,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Check, and tell what was found."""
    from imagefinder import wiring  # noqa: PLC0415 - a quick start

    with output.counter("checking", of_bytes=False) as progress:
        report = wiring.check_collection(
            settings(context, collection=collection), repair=repair, progress=progress
        )
    if as_json:
        output.document(to_json(report))
    else:
        _tell(report, repair=repair)
    return UNFINISHED if report.left else OK


def _tell(report: CheckReport, *, repair: bool) -> None:
    seconds = output.duration(report.seconds)
    if report.sound:
        output.line(f"sound: {output.plural(report.images, 'image')} in {report.location}, checked in {seconds}")
        return
    output.table(
        ("damaged", "what", "done about it"),
        [(damage.kind, damage.message, damage.repaired or "nothing") for damage in report.damages[:_SHOWN]],
    )
    rest = len(report.damages) - _SHOWN
    if rest > 0:
        output.line(f"and {rest} more; all of them: imagefinder check --json")
    output.line()
    output.line(
        f"{output.plural(len(report.damages), 'damage')} in {report.location}, {len(report.left)} left; "
        f"checked in {seconds}"
    )
    if report.left and not repair:
        output.note("hint: make a copy of the folder, then: imagefinder check --repair")
