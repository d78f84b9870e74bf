"""Read and write the table of removals: images that must not return with the next ``add``."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from imagefinder.core.records import ImageRecord, Removal
from imagefinder.stores import codec
from imagefinder.stores.embedded.feature_rows import chunks

COLUMNS = "id, uri, sha256, source, at"
"""The columns of a removal covered by its checksum, in this order."""


def record_removals(database: sqlite3.Connection, ids: Sequence[str]) -> None:
    """Record the removal of the images with these ids that have a URI; before they are deleted."""
    for some in chunks(ids):
        rows = database.execute(
            "SELECT id, uri, sha256, source FROM images"  # noqa: S608 - question marks
            f" WHERE uri <> '' AND id IN ({', '.join('?' * len(some))})",
            some,
        ).fetchall()
        for row in rows:
            _insert(database, (*row, time.time()))


def copy_removals(database: sqlite3.Connection, removals: Sequence[Removal]) -> None:
    """Insert removals of another store, replacing those of the same id and URI."""
    for removal in removals:
        _insert(database, (removal.id, removal.uri, removal.sha256, removal.source, removal.at))


def read_removals(
    database: sqlite3.Connection, after: str, limit: int | None, ids: Sequence[str] | None, sha256: str | None
) -> list[Removal]:
    """Removals after the id ``after``, ordered by id and URI (``StoreLookups.removals``).

    A damaged row is left out: an image that returns can be removed again.
    """
    rows: list[Any] = []
    if ids is not None:
        for some in chunks(ids):
            rows += _select(database, f"id IN ({', '.join('?' * len(some))})", some, None)
        rows.sort()
    elif sha256 is not None:
        rows = _select(database, "sha256 = ?", [sha256], None)
    else:
        rows = _select(database, "id > ?", [after], limit)
        if limit is not None and rows and len(rows) == limit:
            rows += _select(database, "id = ? AND uri > ?", rows[-1][:2], None)
    return [Removal(*values) for *values, checksum in rows if codec.is_intact_record(values, checksum)]


def clear_removals(database: sqlite3.Connection, images: Sequence[ImageRecord]) -> None:
    """Delete the removals of images that are put: those of the same URI, or all of an image without a source."""
    database.executemany(
        "DELETE FROM removals WHERE id = ? AND (uri = ? OR ? = '')",
        [(image.id, image.uri, image.source) for image in images],
    )


def move_removal(database: sqlite3.Connection, removal: Removal, moved: Removal) -> None:
    """Replace a removal by that of the new id and URI of its file; an unknown one is ignored."""
    where = removal.id, removal.uri
    if database.execute("DELETE FROM removals WHERE id = ? AND uri = ?", where).rowcount:
        _insert(database, (moved.id, moved.uri, moved.sha256, moved.source, moved.at))


def forget_removals(database: sqlite3.Connection, ids: Sequence[str]) -> int:
    """Delete the removals of these ids; returns how many there were."""
    return database.executemany("DELETE FROM removals WHERE id = ?", [(image_id,) for image_id in ids]).rowcount


def _insert(database: sqlite3.Connection, values: tuple[Any, ...]) -> None:
    database.execute(
        f"INSERT OR REPLACE INTO removals ({COLUMNS}, checksum) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
        (*values, codec.record_checksum(values)),
    )


def _select(database: sqlite3.Connection, condition: str, values: Sequence[Any], limit: int | None) -> list[Any]:
    most = -1 if limit is None else min(max(limit, 0), 2**31)
    return database.execute(
        f"SELECT {COLUMNS}, checksum FROM removals WHERE {condition}"  # noqa: S608 - conditions are our own
        " ORDER BY id, uri LIMIT ?",
        [*values, most],
    ).fetchall()
