"""Recover all intact rows of a damaged database into a new one."""

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
from imagefinder.stores import codec
from imagefinder.stores.embedded import kept_rows, removal_rows, schema
from imagefinder.stores.embedded.check import lenient_text
from imagefinder.stores.embedded.connections import connect, translated_errors
from imagefinder.stores.embedded.files import disable_wal, sync_folder

_UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""Exceptions on reading a damaged database; SQLite's error messages may quote bytes that are not valid UTF-8."""

_DEFAULT_LAST_KEY = 100_000
"""The last key to look for if the largest one cannot be determined."""

_UNCOUNTED = ("failures", "removals", "file_metadata")
"""Tables that the report of a recovery leaves out."""

_COLUMNS = {
    "images": f"key, {schema.RECORD}, checksum",
    "thumbnails": "image, jpeg",
    "methods": "key, name, fingerprint, kind, dim, dtype, revision",
    "features": "key, image, method, bytes, checksum, data, keypoints",
    "file_metadata": f"image, {schema.FILE_METADATA}",
    "kept": kept_rows.KEPT_COLUMNS,
    "failures": "rowid, id, uri, code, message, attempts, at, source",
    "removals": f"rowid, {removal_rows.COLUMNS}, checksum",
}


def recover(folder: Path) -> Damage:
    """Replace a damaged database by a new one with its intact rows; the damaged one is kept next to it.

    Returns:
        What was recovered, and the path of the damaged database.

    Raises:
        CollectionBusyError: another program has the collection open.
        CollectionCorruptError: no image can be read; nothing was changed.
        StoreError: no space or no permission.
    """
    file = folder / schema.FILE_NAME
    with translated_errors(file):
        with contextlib.suppress(*_UNREADABLE), closing(connect(file)) as database:
            _require_exclusive_access(database, folder)
        new, source = (file.with_name(f"{file.name}.{word}") for word in ("salvaged", "readable"))
        try:
            _remove(new)
            _copy_with_new_header(file, source)
            with closing(connect(new, create=True)) as target:
                schema.prepare(target, folder, create=True)
                target.execute("BEGIN")
                counts = _copy_intact_rows(file, target)
                if not counts["images"]:
                    target.execute("ROLLBACK")
                    target.execute("BEGIN")
                    counts = _copy_intact_rows(source, target)
                target.execute("COMMIT")
                disable_wal(target)
            if not counts["images"]:
                raise CollectionCorruptError(
                    f"no image in the database {file} can be read",
                    hint="restore the collection from a backup, or add the images to a new collection",
                )
            kept = _keep_damaged(file)
            new.replace(file)
            sync_folder(folder)
        finally:
            _remove(new)
            _remove(source)
    recovered = ", ".join(f"{count} {table}" for table, count in counts.items() if table not in _UNCOUNTED)
    return Damage(
        "database",
        "the tables are damaged",
        repaired=f"recovered {recovered}; the damaged database was moved to {kept}",
    )


def _require_exclusive_access(database: sqlite3.Connection, folder: Path) -> None:
    """Copy the log into the database, which fails while another connection is open."""
    try:
        disable_wal(database)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise CollectionBusyError(
                f"another program has the collection {folder} open", hint="stop it and try again"
            ) from error
        raise


def _copy_intact_rows(source: Path, target: sqlite3.Connection) -> dict[str, int]:
    """Copy the intact rows; returns their number by table."""
    counts = dict.fromkeys(_COLUMNS, 0)
    ids: dict[int, tuple[str, int | None]] = {}
    methods: dict[int, tuple[str, FeatureSpec]] = {}
    try:
        database = connect(source)
    except _UNREADABLE:
        return counts
    with closing(database), lenient_text(database):
        for table, columns in _COLUMNS.items():
            for key, *values in _rows(database, table):
                if not _is_intact(table, key, values, ids, methods):
                    continue
                marks = ", ".join("?" * (len(values) + 1))
                try:
                    target.execute(
                        f"INSERT INTO {table} ({columns}) VALUES ({marks})",  # noqa: S608 - names
                        (key, *values),
                    )
                except (sqlite3.IntegrityError, UnicodeEncodeError):  # damaged, such as a repeated id
                    continue
                counts[table] += 1
                if table == "images":
                    ids[key] = (values[0], values[-2])
                elif table == "methods":
                    methods[key] = (values[0], FeatureSpec(values[2], values[3], values[4]))
        for table in ("images", "features"):  # keys of lost rows must not be given again
            last = _largest(database, table, "key")
            target.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (last, table))
    schema.fill_contents(target)
    return counts


def _is_intact(
    table: str,
    key: int,
    values: Sequence[Any],
    ids: dict[int, tuple[str, int | None]],
    methods: dict[int, tuple[str, FeatureSpec]],
) -> bool:
    if table == "images":
        return codec.is_intact_record(values[:-1], values[-1])
    if table == "thumbnails":
        return key in ids and codec.is_intact_thumbnail(*ids[key], *values)
    if table == "file_metadata":
        return key in ids and codec.is_intact_record(
            (ids[key][0], values[0], values[1] or "", *values[2:-1]), values[-1]
        )
    if table == "kept":
        image, _, checksum, data = values
        return image in ids and codec.is_intact_thumbnail(ids[image][0], checksum, data)
    if table == "features":
        image, method, size, checksum, data, keypoints = values
        if image not in ids or method not in methods:
            return False
        blobs = codec.EncodedFeatures(data, keypoints, checksum)
        return codec.is_intact(ids[image][0], *methods[method], blobs) and blobs.nbytes == size
    if table == "removals":
        return codec.is_intact_record(values[:-1], values[-1])
    return True


def _rows(database: sqlite3.Connection, table: str) -> Iterator[Sequence[Any]]:
    """Yield the readable rows by ascending key: in one scan, and after an error by looking up single keys."""
    columns = _COLUMNS[table]
    name = columns.split(",")[0]
    key, end = 0, _largest(database, table, name)
    scan = f"SELECT {columns} FROM {table} NOT INDEXED WHERE {name} > ? ORDER BY {name}"  # noqa: S608 - names
    lookup = f"SELECT {columns} FROM {table} NOT INDEXED WHERE {name} = ?"  # noqa: S608 - names
    while True:
        try:
            for row in database.execute(scan, (key,)):
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
                row = database.execute(lookup, (key,)).fetchone()
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
    return _DEFAULT_LAST_KEY


def _copy_with_new_header(file: Path, copy: Path) -> None:
    """Copy the file with the first page of a new collection; the root pages of the tables are always the same."""
    _remove(copy)
    fresh = copy.with_name(f"{copy.name}.fresh")
    with closing(connect(fresh, create=True)) as database:
        schema.prepare(database, copy.parent, create=True)
        disable_wal(database)
    data = fresh.read_bytes()
    header = bytearray(data[: schema.PAGE_BYTES])
    _remove(fresh)
    shutil.copyfile(file, copy)
    # SQLite opens no database that lacks the first page of a table or an index.
    pages = max(copy.stat().st_size, len(data)) // schema.PAGE_BYTES
    os.truncate(copy, pages * schema.PAGE_BYTES)
    # Number of pages, and an empty free list; https://www.sqlite.org/fileformat2.html, 1.3.
    struct.pack_into(">III", header, 28, pages, 0, 0)
    with copy.open("r+b") as changed:
        changed.write(header)


def _keep_damaged(file: Path) -> Path:
    """Link the damaged database to another name; the original name stays until it is replaced."""
    number = 1
    while (kept := file.with_name(f"{file.name}.damaged-{number}")).exists():
        number += 1
    os.link(file, kept)
    log = file.with_name(f"{file.name}-wal")
    if log.exists():
        # It could not be copied into the database. In place, it would become the log of the new database.
        log.rename(kept.with_name(f"{kept.name}-wal"))
    file.with_name(f"{file.name}-shm").unlink(missing_ok=True)
    sync_folder(file.parent)
    return kept


def _remove(file: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
