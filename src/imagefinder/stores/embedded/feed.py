"""The feed of changes: which features were added and removed since a cursor.

The cursor is exact because SQLite serialises writers. A write transaction begins only after the previous one has
committed (``BEGIN IMMEDIATE``), and both the keys of features and the numbers of removals grow with each row
(``AUTOINCREMENT``). So they are in the order of the commits, and what a read transaction sees is a prefix of it:
no transaction that commits later adds a smaller key or number. A store with concurrent writers does not have this
property; its cursor needs the set of transactions that were visible, and repeats some keys.
"""

from __future__ import annotations

import sqlite3
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import CollectionCorruptError
from imagefinder.core.records import Changes, Cursor
from imagefinder.stores import codec
from imagefinder.stores.embedded.schema import REMOVALS_KEPT


@dataclass(frozen=True, slots=True)
class Position:
    """A position in the feed of one method.

    Attributes:
        history: Identifies the history of changes; a backup or a recovered database begins another one.
        method: Key of the method, which is another one after the method was removed and registered again.
        key: The greatest key ever given to features.
        checksum: Checksum of the features with that key, -1 if they do not exist. After an earlier state of the
            same file was put back, the features with that key are others, or do not exist.
        removal: The greatest number ever given to a removal.
    """

    history: str
    method: int
    key: int
    checksum: int
    removal: int

    def cursor(self) -> Cursor:
        """The position as text."""
        return ".".join(map(str, astuple(self)))

    @classmethod
    def parse(cls, cursor: Cursor) -> Position | None:
        """The position of a cursor; ``None`` if it is not one of this store."""
        history, *numbers = cursor.split(".")
        try:
            method, key, checksum, removal = map(int, numbers)
        except ValueError:
            return None
        if max(method, key, checksum, removal) >= 1 << 63:  # SQLite's integers end here
            return None
        return cls(history, method, key, checksum, removal)


def position(database: sqlite3.Connection, method: int) -> Position:
    """The present position in the feed of a method."""
    history, key, checksum, removal = database.execute(
        "SELECT (SELECT id FROM history), last.seq, features.checksum,"
        " (SELECT seq FROM sqlite_sequence WHERE name = 'gone') FROM (SELECT 1)"
        " LEFT JOIN sqlite_sequence AS last ON last.name = 'features'"
        " LEFT JOIN features ON features.key = last.seq"
    ).fetchone()
    return Position(str(history), method, key or 0, -1 if checksum is None else checksum, removal or 0)


def read_changes(database: sqlite3.Connection, method: int, since: Cursor | None) -> Changes:
    """The changes to the features of a method since a cursor.

    Args:
        database: A connection in a transaction.
        method: Key of the method.
        since: The cursor; ``None`` for all features.

    Raises:
        CollectionCorruptError: all features are listed, and they are not as many as were counted.
    """
    now = position(database, method)
    then = Position.parse(since) if since else None
    if then == now:
        return Changes(now.cursor(), _keys([]), _keys([]), _keys([]))
    if then is None or not _leads_to(database, then, now):
        listing, images = _listing(database, method, 0), count_images(database, method)
        if len(listing) != images:
            raise CollectionCorruptError(
                f"the index of features is damaged: it does not list the {images} images that are counted",
                hint=codec.REPAIR_HINT,
            )
        return Changes(now.cursor(), listing[:, 0].copy(), listing[:, 1].copy(), _keys([]), complete=True)
    listing = _listing(database, method, then.key)
    gone = database.execute(
        "SELECT key FROM gone WHERE number > ? AND method = ? ORDER BY number", (then.removal, method)
    )
    return Changes(now.cursor(), listing[:, 0].copy(), listing[:, 1].copy(), _keys([key for (key,) in gone]))


def count_images(database: sqlite3.Connection, method: int) -> int:
    """The counted number of images with features of a method; 0 if the method was deleted with its features."""
    row = database.execute("SELECT images FROM methods WHERE key = ?", (method,)).fetchone()
    return int(row[0]) if row else 0


def _leads_to(database: sqlite3.Connection, then: Position, now: Position) -> bool:
    """Whether the present position was reached from an earlier one, and all removals since are known."""
    if (then.history, then.method) != (now.history, now.method):
        return False
    if then.key > now.key or not now.removal - REMOVALS_KEPT <= then.removal <= now.removal:
        return False
    row = database.execute("SELECT checksum FROM features WHERE key = ?", (then.key,)).fetchone()
    if row is not None or then.checksum == -1:
        return row is None or row[0] == then.checksum
    removed = "SELECT 1 FROM gone WHERE number > ? AND key = ?"
    return database.execute(removed, (then.removal, then.key)).fetchone() is not None


def _listing(database: sqlite3.Connection, method: int, after: int) -> NDArray[np.int64]:
    """``(K, 2)`` int64: keys greater than ``after``, ascending, and the bytes of their features."""
    rows = database.execute(
        "SELECT key, bytes FROM features WHERE method = ? AND key > ? ORDER BY key", (method, after)
    ).fetchall()
    return np.array(rows, dtype=np.int64).reshape(-1, 2)


def _keys(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)
