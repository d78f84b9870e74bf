"""Orphans: objects that no row names, because a writer was killed, or their image was removed or replaced.

An orphan is marked first, and deleted by a later sweep, when the mark is a day old: until then, readers that found
its name can read it, and a database that is restored to an earlier state has its objects. A transaction that names
a marked object fails (``Claim``), so that a writer that was suspended for days does not refer to a deleted one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from psycopg import Cursor

from imagefinder.core.errors import StoreUnavailableError
from imagefinder.core.records import SweepReport
from imagefinder.core.store_parts import Lease
from imagefinder.stores.distributed.object_payloads import InObjects
from imagefinder.stores.distributed.payloads import StoredBytes
from imagefinder.stores.distributed.pool import Connection, Database

LEASE = "sweep"
LEASE_SECONDS = 600.0

_PAGE = 1000
_FORGOTTEN_SECONDS = 90 * 86400.0
"""Time for which the mark of a deleted object is kept."""

_REFERENCES = " UNION ALL ".join(
    f"SELECT object FROM {table} WHERE collection = %(collection)s AND object = ANY(%(names)s)"
    for table in ("features", "images", "thumbnail_features", "kept")
)


class Claim:
    """A check, in a transaction that names objects in new rows, that none of them is marked as an orphan."""

    def __init__(self, connection: Connection, collection: int, stored: Sequence[StoredBytes]) -> None:
        """Send the query; its answer is read by ``confirm``, after that of another statement, without a wait."""
        names = [one.object for one in stored if one.object is not None]
        self._found: Cursor[tuple[object, ...]] | None = None
        if names:
            self._found = connection.execute(
                "SELECT 1 FROM orphans WHERE collection = %s AND object = ANY(%s) LIMIT 1", [collection, names]
            )

    def confirm(self) -> None:
        """Raise an error if an object is marked.

        Raises:
            StoreUnavailableError: one is; the caller has to store the objects again.
        """
        if self._found is not None and self._found.fetchone():
            raise StoreUnavailableError(
                "the objects of these images were stored too long ago, and may have been deleted as orphans",
                hint="repeat the call, which stores them again",
            )


@dataclass(frozen=True, slots=True)
class Sweep:
    """Finds and deletes the orphans of a collection, and the objects of dropped collections in the same place.

    Attributes:
        database: The database with the rows.
        collection: Key of the collection.
        payloads: The objects of the collection.
        lease: The lease of the sweep, which is renewed.
        young: Age in seconds from which an object without a row is marked.
    """

    database: Database
    collection: int
    payloads: InObjects
    lease: Lease
    young: float = 3600.0

    def run(
        self, *, seconds: float, delete: bool, progress: Callable[[int, int], None] = lambda _done, _total: None
    ) -> SweepReport:
        """Mark orphans, and delete those that were marked at least ``seconds`` ago.

        Args:
            seconds: Time between marking and deleting; at least ``young``.
            delete: Whether to delete them; otherwise they are only counted.
            progress: Called with (done, 0), the number of objects listed.

        Raises:
            StoreUnavailableError: the lease was lost: this process was suspended for too long.
        """
        if seconds < self.young:
            raise ValueError(f"orphans must be kept for at least {self.young:g} s")
        listed = marked = 0
        for page in _pages(self.payloads.names(older_than=self.young)):
            marked += self.database.write(lambda connection: self._mark(connection, page))  # noqa: B023 - called here
            listed += len(page)
            progress(listed, 0)
            self._renew()
        deleted = self._delete(seconds) + self._delete_dropped(seconds) if delete else 0
        waiting = self.database.read(
            lambda connection: connection.execute(
                "SELECT count(*) FROM orphans WHERE collection = %s AND deleted IS NULL", [self.collection]
            ).fetchone()
        )
        return SweepReport(listed, marked, deleted, int(waiting[0]) if waiting else 0)

    def _mark(self, connection: Connection, names: Sequence[str]) -> int:
        """Mark those of the names that no row has; returns the number of new marks."""
        values = {"collection": self.collection, "names": list(names)}
        rows = connection.execute(
            f"WITH used AS ({_REFERENCES}), unmarked AS"
            " (DELETE FROM orphans WHERE collection = %(collection)s AND object IN (SELECT object FROM used)),"
            " marked AS (INSERT INTO orphans (collection, object)"
            " SELECT %(collection)s, name FROM unnest(%(names)s::text[]) AS name"
            " WHERE name NOT IN (SELECT object FROM used) ON CONFLICT DO NOTHING RETURNING 1)"
            " SELECT count(*) FROM marked",
            values,
        ).fetchone()
        return int(rows[0]) if rows else 0

    def _delete(self, seconds: float) -> int:
        deleted = 0
        while names := self.database.read(lambda connection: self._doomed(connection, seconds)):
            self._renew()
            self.payloads.delete(names)
            self.database.write(lambda connection: self._forget(connection, names))
            deleted += len(names)
        return deleted

    def _delete_dropped(self, seconds: float) -> int:
        """Delete the objects of collections that were dropped long enough ago."""
        folders = self.database.read(
            lambda connection: connection.execute(
                "SELECT folder FROM dropped WHERE objects = %s"
                " AND at <= clock_timestamp() - %s * interval '1 second'",
                [self.payloads.blobs.location, seconds],
            ).fetchall()
        )
        deleted = 0
        for (folder,) in folders:
            for page in _pages(self.payloads.blobs.names(folder.hex)):
                self._renew()
                self.payloads.blobs.delete(page)
                deleted += len(page)
            self.database.run(
                lambda connection: connection.execute("DELETE FROM dropped WHERE folder = %s", [folder])  # noqa: B023
            )
        return deleted

    def _doomed(self, connection: Connection, seconds: float) -> list[str]:
        """Up to a page of marked objects that are old enough and that no row has."""
        rows = connection.execute(
            "SELECT object FROM orphans WHERE collection = %(collection)s AND deleted IS NULL"
            " AND seen <= clock_timestamp() - %(seconds)s * interval '1 second'"
            " AND NOT EXISTS (SELECT 1 FROM features AS f"
            " WHERE f.collection = orphans.collection AND f.object = orphans.object)"
            " AND NOT EXISTS (SELECT 1 FROM images AS i"
            " WHERE i.collection = orphans.collection AND i.object = orphans.object)"
            " AND NOT EXISTS (SELECT 1 FROM thumbnail_features AS t"
            " WHERE t.collection = orphans.collection AND t.object = orphans.object)"
            " AND NOT EXISTS (SELECT 1 FROM kept AS k"
            " WHERE k.collection = orphans.collection AND k.object = orphans.object)"
            " LIMIT %(page)s",
            {"collection": self.collection, "seconds": seconds, "page": _PAGE},
        )
        return [str(name) for (name,) in rows]

    def _forget(self, connection: Connection, names: Sequence[str]) -> None:
        connection.execute(
            "UPDATE orphans SET deleted = clock_timestamp() WHERE collection = %s AND object = ANY(%s)",
            [self.collection, list(names)],
        )
        connection.execute(
            "DELETE FROM orphans WHERE collection = %s AND deleted < clock_timestamp() - %s * interval '1 second'",
            [self.collection, _FORGOTTEN_SECONDS],
        )

    def _renew(self) -> None:
        if not self.lease.renew():
            raise StoreUnavailableError(
                "another process sweeps the objects of this collection", hint="this one was suspended for too long"
            )


def _pages(names: Iterator[str]) -> Iterator[list[str]]:
    while page := list(islice(names, _PAGE)):
        yield page
