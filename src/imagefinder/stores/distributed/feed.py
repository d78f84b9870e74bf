"""The feed of changes: which features were added and removed since a cursor, with any number of writers.

Each row of features, and of ``gone``, has the id of the transaction that wrote it. Transactions commit in any
order, so a cursor is the smallest transaction that may still have been running when the changes were read
(``pg_snapshot_xmin``): everything before it was visible then. What has this transaction or a later one is reported
the next time, some of it again.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import CollectionCorruptError
from imagefinder.core.records import NO_FEATURES, Changes, Cursor
from imagefinder.stores.codec import REPAIR_HINT
from imagefinder.stores.distributed.pool import Connection

REMOVALS_KEPT = 100_000
"""Number of removals of a method that ``gone`` keeps; a follower that is further behind lists all features."""


@dataclass(frozen=True, slots=True)
class CommitPosition:
    """A position in the feed of one method.

    Attributes:
        history: Identifies the collection and the database server. Elsewhere, transactions have other ids.
        method: Key of the method, which is another one after the method was removed and registered again.
        xmin: The smallest transaction that was not visible.
        txid: The transaction of the last visible change, 0 if there is none.
        key: The key of the features that it added or removed. After an earlier state of the database was put back
            there is no such change.
    """

    history: str
    method: int
    xmin: int
    txid: int
    key: int

    def cursor(self) -> Cursor:
        """The position as text."""
        return ".".join(map(str, astuple(self)))

    @classmethod
    def parse(cls, cursor: Cursor | None) -> CommitPosition | None:
        """The position of a cursor; ``None`` if it is not one of this kind of store."""
        history, *numbers = (cursor or "").split(".")
        if len(numbers) != 4 or not all(number.isascii() and number.isdecimal() for number in numbers):
            return None
        method, xmin, txid, key = map(int, numbers)
        if max(method, xmin, txid, key) >= 1 << 63:
            return None
        return cls(history, method, xmin, txid, key)


# One statement, so all of it is read from one snapshot, which is also that of pg_current_snapshot().
# Features can be removed by a transaction older than the one that added them; it was not visible at the cursor.
_CHANGES = """
    SELECT collections.history::text || (SELECT system_identifier FROM pg_control_system())::text,
        methods.key,
        pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
        pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
        methods.forgotten::text::bigint,
        (SELECT array_agg(ARRAY[key, bytes] ORDER BY key) FROM features
            WHERE collection = methods.collection AND method = methods.key AND txid >= %(xmin)s::text::xid8),
        (SELECT array_agg(key) FROM gone
            WHERE collection = methods.collection AND method = methods.key AND txid >= %(xmin)s::text::xid8),
        (SELECT ARRAY[txid::text::bigint, key] FROM features
            WHERE collection = methods.collection AND method = methods.key ORDER BY txid DESC LIMIT 1),
        (SELECT ARRAY[txid::text::bigint, key] FROM gone
            WHERE collection = methods.collection AND method = methods.key ORDER BY txid DESC LIMIT 1),
        EXISTS (SELECT 1 FROM features WHERE collection = methods.collection AND method = methods.key
            AND key = %(key)s AND txid = %(txid)s::text::xid8)
        OR EXISTS (SELECT 1 FROM gone WHERE collection = methods.collection AND method = methods.key
            AND key = %(key)s AND (txid = %(txid)s::text::xid8 OR txid >= %(xmin)s::text::xid8)),
        (SELECT coalesce(sum(images), 0)::bigint FROM counts
            WHERE collection = methods.collection AND method = methods.key)
    FROM collections JOIN methods ON methods.collection = collections.key
    WHERE collections.key = %(collection)s AND methods.name = %(name)b
"""


def read_changes(
    connection: Connection, collection: int, method: str, since: Cursor | None
) -> tuple[Changes, int]:
    """The changes to the features of a method since a cursor, and the number of images after them.

    Raises:
        CollectionCorruptError: all features are listed, and they are not as many as were counted.
    """
    then = CommitPosition.parse(since)
    row = _read(connection, collection, method, then)
    if row is None:
        return NO_FEATURES, 0
    if then is not None and not _leads_to(then, row):
        then = None
        row = _read(connection, collection, method, None)
        if row is None:
            return NO_FEATURES, 0
    history, key, xmin, _, _, listed, gone, last_new, last_gone, _, images = row
    listing = np.array(listed or (), dtype=np.int64).reshape(-1, 2)
    if then is None and len(listing) != images:
        raise CollectionCorruptError(
            f"the {method} features of {images} images are counted, and those of {len(listing)} exist",
            hint=REPAIR_HINT,
        )
    txid, last_key = max(last_new or [0, 0], last_gone or [0, 0])
    changes = Changes(
        CommitPosition(history, key, xmin, txid, last_key).cursor(),
        listing[:, 0].copy(),
        listing[:, 1].copy(),
        _keys(gone if then is not None else None),
        complete=then is None,
    )
    return changes, images


def forget_removals(connection: Connection, collection: int) -> None:
    """Delete all but the last removals of each method; cursors that are older become invalid."""
    connection.execute(
        "UPDATE methods SET forgotten = old.txid FROM (SELECT methods.key, (SELECT txid FROM gone"
        " WHERE gone.collection = methods.collection AND method = methods.key"
        " ORDER BY txid DESC OFFSET %s LIMIT 1) AS txid FROM methods WHERE collection = %s) AS old"
        " WHERE methods.key = old.key AND old.txid > methods.forgotten",
        [REMOVALS_KEPT, collection],
    )
    connection.execute(
        "DELETE FROM gone USING methods WHERE gone.collection = %s AND gone.method = methods.key"
        " AND gone.txid <= methods.forgotten",
        [collection],
    )


def _read(connection: Connection, collection: int, method: str, then: CommitPosition | None) -> Any:
    position = then or CommitPosition("", 0, 0, 0, 0)
    return connection.execute(
        _CHANGES,
        {
            "collection": collection,
            "name": method.encode(),
            "xmin": str(position.xmin),
            "txid": str(position.txid),
            "key": position.key,
        },
        binary=True,
    ).fetchone()


def _leads_to(then: CommitPosition, row: Any) -> bool:
    """Whether the present state was reached from an earlier position, and all removals since are known."""
    history, key, _, xmax, forgotten, *_, known, _ = row
    if (then.history, then.method) != (history, key) or not forgotten < then.xmin <= xmax:
        return False
    return bool(known) or then.txid <= forgotten  # also if there was no change yet: 0


def _keys(values: list[int] | None) -> NDArray[np.int64]:
    return np.array(values or (), dtype=np.int64)
