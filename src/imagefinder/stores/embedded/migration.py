"""Migrate a collection of an older format, keeping a copy of the old database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from imagefinder.core.errors import CollectionBusyError, CollectionCorruptError
from imagefinder.stores.embedded import schema
from imagefinder.stores.embedded.connections import connect, translated_errors
from imagefinder.stores.embedded.files import copy_database, disable_wal, sync_folder


@dataclass(frozen=True, slots=True)
class Migration:
    """The result of a migration.

    Attributes:
        before: Format before the migration.
        after: Current format.
        backup: Copy of the database before the migration; ``None`` if no migration was necessary.
    """

    before: int
    after: int
    backup: Path | None


def migrate(folder: Path) -> Migration:
    """Migrate a collection to the current format, in one transaction; a current one is not changed.

    Raises:
        CollectionNotFoundError: there is no collection.
        CollectionFormatError: a newer format, or not a collection.
        CollectionBusyError: another program has the collection open.
        CollectionCorruptError: the collection is damaged; nothing was changed.
        StoreError: no space or no permission.
    """
    folder = folder.absolute()
    file = folder / schema.FILE_NAME
    if not file.is_file():
        raise schema.not_found(folder)
    with translated_errors(file), closing(connect(file)) as database:
        before = schema.format_of(database, folder)
        if before is None:
            raise schema.not_found(folder)
        if before == schema.FORMAT:
            return Migration(before, before, None)
        if before not in schema.MIGRATIONS:
            raise schema.unknown_format(folder, before)
        _lock_exclusively(database, folder)
        (result,) = database.execute("PRAGMA integrity_check(1)").fetchone()
        if result != "ok":
            raise CollectionCorruptError(
                f"the database {file} is damaged: {result}",
                hint="restore the collection from a backup, or add the images to a new collection",
            )
        backup = _back_up(database, file, before)
        database.execute("BEGIN IMMEDIATE")
        for version in range(before, schema.FORMAT):
            schema.MIGRATIONS[version](database)
        database.execute(f"PRAGMA user_version = {schema.FORMAT}")
        database.execute("COMMIT")
    return Migration(before, schema.FORMAT, backup)


def _lock_exclusively(database: sqlite3.Connection, folder: Path) -> None:
    """Exclude other processes: an older version of imagefinder would go on writing the older format."""
    try:
        disable_wal(database)
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("BEGIN EXCLUSIVE")
        database.execute("COMMIT")  # the lock stays
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise CollectionBusyError(
                f"another program has the collection {folder} open", hint="stop it and try again"
            ) from error
        raise


def _back_up(database: sqlite3.Connection, file: Path, version: int) -> Path:
    kept, half = (file.with_name(f"{file.name}.format-{version}{suffix}") for suffix in ("", ".half"))
    half.unlink(missing_ok=True)
    try:
        copy_database(database, half)
        half.replace(kept)
        sync_folder(file.parent)
    finally:
        half.unlink(missing_ok=True)
    return kept
