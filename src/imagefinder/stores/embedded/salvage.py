"""A new database from all rows of a damaged one that can still be read and have their checksums."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from imagefinder.core.errors import CollectionBusyError, CollectionCorruptError
from imagefinder.core.features import FeatureSpec
from imagefinder.core.records import Damage
from imagefinder.stores.embedded import codec, schema
from imagefinder.stores.embedded.connections import connect, translated_errors
from imagefinder.stores.embedded.files import leave_log, sync_folder
from imagefinder.stores.embedded.inspection import tolerant

_UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What a damaged database raises: also that SQLite's own message quotes bytes that are no text."""

_MISSES = 100_000
"""Where nothing says what the largest key is, so many absent ones in a row end the search."""

_COLUMNS = {
    "images": f"key, {schema.RECORD}, checksum",
    "thumbnails": "image, jpeg",
    "methods": "key, name, fingerprint, kind, dim, dtype, revision",
    "features": "key, image, method, bytes, checksum, data, keypoints",
    "failures": "rowid, id, uri, code, message, attempts, at, source",
}


def salvage(folder: Path) -> Damage:
    """Put a new database in the place of a damaged one, which stays beside it. Nobody else may have it open.

    Returns:
        What was saved, and where the damaged database is.

    Raises:
        CollectionBusyError: another program uses it.
        CollectionCorruptError: nothing in it can be read; it is left as it is.
        StoreError: no space, no permission.
    """
    file = folder / schema.FILE_NAME
    with translated_errors(file):
        with contextlib.suppress(*_UNREADABLE), closing(connect(file)) as database:
            _alone(database, folder)
        new, source = (file.with_name(f"{file.name}.{word}") for word in ("salvaged", "readable"))
        try:
            _remove(new)
            _copy_with_a_beginning(file, source)
            with closing(connect(new, create=True)) as target:
                schema.prepare(target, folder, create=True)
                target.execute("BEGIN")
                counts = _rescue(file, target)
                if not counts["images"]:
                    target.execute("ROLLBACK")
                    target.execute("BEGIN")
                    counts = _rescue(source, target)
                target.execute("COMMIT")
                leave_log(target)
            if not counts["images"]:
                raise CollectionCorruptError(
                    f"nothing in the database {file} can be read",
                    hint="restore it from a backup, or index into a new collection",
                )
            kept = _aside(file)
            new.replace(file)
            sync_folder(folder)
        finally:
            _remove(new)
            _remove(source)
    saved = ", ".join(f"{count} {table}" for table, count in counts.items() if table != "failures")
    return Damage("database", "the tables are damaged", repaired=f"saved {saved}; the damaged database is {kept}")


def _alone(database: sqlite3.Connection, folder: Path) -> None:
    """Empty the log into the database; this fails while anybody else has it open."""
    try:
        leave_log(database)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise CollectionBusyError(
                f"another program uses the collection {folder}", hint="stop it and try again"
            ) from error
        raise


def _rescue(source: Path, target: sqlite3.Connection) -> dict[str, int]:
    """Copy what is whole; how many rows of each table."""
    counts = dict.fromkeys(_COLUMNS, 0)
    ids: dict[int, tuple[str, int | None]] = {}
    methods: dict[int, tuple[str, FeatureSpec]] = {}
    try:
        database = connect(source)
    except _UNREADABLE:
        return counts
    with closing(database), tolerant(database):
        for table, columns in _COLUMNS.items():
            for key, *values in _rows(database, table):
                if not _is_whole(table, key, values, ids, methods):
                    continue
                marks = ", ".join("?" * (len(values) + 1))
                try:
                    target.execute(
                        f"INSERT INTO {table} ({columns}) VALUES ({marks})",  # noqa: S608 - names
                        (key, *values),
                    )
                except (sqlite3.IntegrityError, UnicodeEncodeError):  # an id that was there already: damage, too
                    continue
                counts[table] += 1
                if table == "images":
                    ids[key] = (values[0], values[-2])
                elif table == "methods":
                    methods[key] = (values[0], FeatureSpec(values[2], values[3], values[4]))
    return counts


def _is_whole(
    table: str,
    key: int,
    values: Sequence[Any],
    ids: dict[int, tuple[str, int | None]],
    methods: dict[int, tuple[str, FeatureSpec]],
) -> bool:
    if table == "images":
        return codec.is_record(values[:-1], values[-1])
    if table == "thumbnails":
        return key in ids and codec.is_thumbnail(*ids[key], *values)
    if table == "features":
        image, method, size, checksum, data, keypoints = values
        if image not in ids or method not in methods:
            return False
        blobs = codec.Blobs(data, keypoints, checksum)
        return codec.is_whole(ids[image][0], *methods[method], blobs) and blobs.nbytes == size
    return True


def _rows(database: sqlite3.Connection, table: str) -> Iterator[Sequence[Any]]:
    """The rows that can be read, by ascending key: where the walk along the table ends in damage, key by key."""
    columns = _COLUMNS[table]
    name = columns.split(",")[0]
    key, end = 0, _largest(database, table, name)
    walk = f"SELECT {columns} FROM {table} NOT INDEXED WHERE {name} > ? ORDER BY {name}"  # noqa: S608 - names
    one = f"SELECT {columns} FROM {table} NOT INDEXED WHERE {name} = ?"  # noqa: S608 - names
    while True:
        try:
            for row in database.execute(walk, (key,)):
                yield row
                key = row[0]
        except _UNREADABLE:
            pass
        else:
            return
        while True:
            key += 1
            if key > end:
                return
            try:
                row = database.execute(one, (key,)).fetchone()
            except _UNREADABLE:
                continue
            if row:
                yield row
                break


def _largest(database: sqlite3.Connection, table: str, name: str) -> int:
    for query in (
        f"SELECT seq FROM sqlite_sequence WHERE name = '{table}'",  # noqa: S608 - names
        f"SELECT max({name}) FROM {table}",  # noqa: S608 - names
    ):
        with contextlib.suppress(*_UNREADABLE):
            row = database.execute(query).fetchone()
            if row and isinstance(row[0], int):
                return min(int(row[0]), 1 << 40)
    return _MISSES


def _copy_with_a_beginning(file: Path, copy: Path) -> None:
    """A copy whose first page is that of a new collection: our tables begin at the same pages in every one."""
    _remove(copy)
    fresh = copy.with_name(f"{copy.name}.fresh")
    with closing(connect(fresh, create=True)) as database:
        schema.prepare(database, copy.parent, create=True)
        leave_log(database)
    beginning = bytearray(fresh.read_bytes()[: schema.PAGE_BYTES])
    _remove(fresh)
    shutil.copyfile(file, copy)
    pages = copy.stat().st_size // schema.PAGE_BYTES
    # Number of pages, no list of free ones; https://www.sqlite.org/fileformat2.html, 1.3.
    struct.pack_into(">III", beginning, 28, pages, 0, 0)
    with copy.open("r+b") as changed:
        changed.write(beginning)


def _aside(file: Path) -> Path:
    """Keep the damaged database under another name; it stays under its own, too."""
    number = 1
    while (kept := file.with_name(f"{file.name}.damaged-{number}")).exists():
        number += 1
    os.link(file, kept)
    log = file.with_name(f"{file.name}-wal")
    if log.exists():
        # It could not be emptied. Left where it is, it would be taken for the log of the new database.
        log.rename(kept.with_name(f"{kept.name}-wal"))
    file.with_name(f"{file.name}-shm").unlink(missing_ok=True)
    sync_folder(file.parent)
    return kept


def _remove(file: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
