"""``imagefinder migrate``: upgrade a collection to the current format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from imagefinder.cli import output
from imagefinder.cli.session import CollectionOption, CollectionsOption, JsonOption, settings
from imagefinder.core.location import shown

if TYPE_CHECKING:
    from imagefinder.core.settings import Settings

HELP = """\
A collection in a folder: stop all processes that use it first. The old database is kept as
collection.sqlite.format-N, which needs disk space; delete it when you no longer need it. A collection in the
current format is not changed.

A database of collections: creates the tables, or brings those of an older version up to date, while the servers of
that version go on. It is the only command that changes tables, so only it needs to run as their owner.

  imagefinder migrate
  imagefinder -c shop.collection migrate
  imagefinder migrate --collections postgresql://owner@db.example/imagefinder"""


def migrate(
    context: typer.Context,
    collection: CollectionOption = None,
    collections: CollectionsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Migrate the collection, or the tables of a database, and report the old and new format."""
    from imagefinder import wiring  # noqa: PLC0415 - fast start

    chosen = settings(context, collection=collection, collections=collections)
    if wiring.store_name(chosen) in ("postgresql", "postgres"):
        _migrate_tables(chosen, as_json=as_json)
        return
    done = wiring.migrate_collection(chosen)
    if as_json:
        backup = str(done.backup) if done.backup else None
        output.document({"before": done.before, "after": done.after, "backup": backup})
    elif done.backup:
        output.line(f"migrated from format {done.before} to format {done.after}; old database: {done.backup}")
    else:
        output.line(f"already in the current format ({done.after})")


def _migrate_tables(chosen: Settings, *, as_json: bool) -> None:
    from imagefinder.server.parts import migrate_tables  # noqa: PLC0415 - only a database needs it

    done = migrate_tables(chosen)
    where = shown(chosen.database or chosen.collection)
    if as_json:
        output.document(
            {"database": where, "tables": {name: {"before": a, "after": b} for name, (a, b) in done.items()}}
        )
        return
    for name, (before, after) in done.items():
        change = (
            "created" if before == 0 else "already up to date" if before == after else f"version {before} before"
        )
        output.line(f"tables of {name} in {where}: version {after} ({change})")
