"""``imagefinder migrate``: upgrade a collection to the current format."""

from __future__ import annotations

import typer

from imagefinder.cli import output
from imagefinder.cli.session import CollectionOption, JsonOption, settings

HELP = """\
Stop all processes that use the collection first. The old database is kept as collection.sqlite.format-N, which
needs disk space; delete it when you no longer need it. A collection in the current format is not changed.

  imagefinder migrate
  imagefinder -c shop.collection migrate"""


def migrate(context: typer.Context, collection: CollectionOption = None, as_json: JsonOption = False) -> None:
    """Migrate the collection and report the old and new format."""
    from imagefinder import wiring  # noqa: PLC0415 - fast start

    done = wiring.migrate_collection(settings(context, collection=collection))
    if as_json:
        backup = str(done.backup) if done.backup else None
        output.document({"before": done.before, "after": done.after, "backup": backup})
    elif done.backup:
        output.line(f"migrated from format {done.before} to format {done.after}; old database: {done.backup}")
    else:
        output.line(f"already in the current format ({done.after})")
