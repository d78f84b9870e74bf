"""``imagefinder sweep``: delete unused objects."""

from __future__ import annotations

from typing import Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.session import CollectionOption, JsonOption, open_collection
from imagefinder.core.serialization import to_json

HELP = """\
A collection whose features are in an object store (setting objects) leaves objects unused there when images are
removed or replaced, and when a process that adds images is killed. A sweep marks unused objects, and deletes those
that an earlier sweep marked at least --days ago. Run it once a day, for example from cron.

Restoring a backup of the database requires the objects of that time: give more --days than the age of the backups
that you may restore.

  imagefinder sweep
  imagefinder sweep --days 14
  imagefinder sweep --dry-run

Exit codes: 0 done, or another process is sweeping; 5 no collection found."""


def sweep(
    context: typer.Context,
    days: Annotated[
        float, typer.Option("--days", min=0.05, help="Delete objects that were marked this many days ago.")
    ] = 1.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Mark and count objects, and delete none.")] = False,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sweep, and report the numbers of objects."""
    with (
        open_collection(context, collection) as opened,
        output.counter("listing objects", of_bytes=False) as progress,
    ):
        report = opened.sweep(days=days, delete=not dry_run, progress=progress)
    if as_json:
        output.document(to_json(report) if report else {})
    elif report is None:
        output.line("another process is sweeping this collection")
    else:
        output.line(
            f"{output.plural(report.objects, 'object')} listed; unused: {report.marked} new, "
            f"{report.waiting} marked, {report.deleted} deleted"
        )
