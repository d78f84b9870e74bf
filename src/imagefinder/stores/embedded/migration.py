"""A collection of an older format made one of the present format; the older one stays beside it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from imagefinder.core.errors import CollectionBusyError, CollectionCorruptError
from imagefinder.stores.embedded import schema
from imagefinder.stores.embedded.connections import connect, translated_errors
from imagefinder.stores.embedded.files import copy_database, leave_log, sync_folder


@dataclass(frozen=True, slots=True)
class Migration:
    """What was done.

    Attributes:
        before: Format the collection had.
        after: Format it has.
        backup: The database as it was; ``None`` if there was nothing to do.
    """

    before: int
    after: int
    backup: Path | None


def migrate(folder: Path) -> Migration:
    """Bring a collection to the present format; one that has it is left alone.

    It is one transaction: after a kill the collection is of the one format or of the other.

    Raises:
        CollectionNotFoundError: there is none.
        CollectionFormatError: it is of a newer format, or none of ours.
        CollectionBusyError: another program has it open.
        CollectionCorruptError: it is damaged; it is left as it is.
        StoreError: no space, no permission.
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
        _take_for_itself(database, folder)
        (verdict,) = database.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise CollectionCorruptError(
                f"the database {file} is damaged: {verdict}",
                hint="restore it from a backup, or index into a new collection",
            )
        backup = _keep(database, file, before)
        database.execute("BEGIN IMMEDIATE")
        for version in range(before, schema.FORMAT):
            schema.MIGRATIONS[version](database)
        database.execute(f"PRAGMA user_version = {schema.FORMAT}")
        database.execute("COMMIT")
    return Migration(before, schema.FORMAT, backup)


def _take_for_itself(database: sqlite3.Connection, folder: Path) -> None:
    """Lock everybody else out: a program of the older version would go on writing in the older format."""
    try:
        leave_log(database)
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("BEGIN EXCLUSIVE")
        database.execute("COMMIT")  # the lock stays
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise CollectionBusyError(
                f"another program has the collection {folder} open", hint="stop it and try again"
            ) from error
        raise


def _keep(database: sqlite3.Connection, file: Path, version: int) -> Path:
    kept, half = (file.with_name(f"{file.name}.format-{version}{suffix}") for suffix in ("", ".half"))
    half.unlink(missing_ok=True)
    try:
        copy_database(database, half)
        half.replace(kept)
        sync_folder(file.parent)
    finally:
        half.unlink(missing_ok=True)
    return kept
