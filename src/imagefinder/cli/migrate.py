"""``imagefinder migrate``: bring a collection of an older format to the present one."""

from __future__ import annotations

import typer

from imagefinder.cli import output
from imagefinder.cli.session import CollectionOption, JsonOption, settings

HELP = """Bring a collection that an older version wrote to the present format. Stop what uses it first.

The database as it was stays beside it, under the name collection.sqlite.format-N; delete it when all is well.
There must be room for it. A collection of the present format is left alone.

  imagefinder migrate
  imagefinder -c shop.collection migrate"""


def migrate(context: typer.Context, collection: CollectionOption = None, as_json: JsonOption = False) -> None:
    """Migrate, and tell from what to what."""
    from imagefinder import wiring  # noqa: PLC0415 - a quick start

    done = wiring.migrate_collection(settings(context, collection=collection))
    if as_json:
        backup = str(done.backup) if done.backup else None
        output.document({"before": done.before, "after": done.after, "backup": backup})
    elif done.backup:
        output.line(f"format {done.before} became format {done.after}; as it was: {done.backup}")
    else:
        output.line(f"it is of the present format {done.after} already")
