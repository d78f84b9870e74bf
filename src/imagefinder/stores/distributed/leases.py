"""Leases: one row for each, with the time when it expires by the clock of the database server."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from imagefinder.stores import validation
from imagefinder.stores.distributed.pool import Database


@dataclass(frozen=True, slots=True)
class RowLease:
    """A lease in the database.

    Attributes:
        database: The database.
        collection: Key of the collection.
        name: Name of the lease.
        seconds: Duration after each renewal.
        holder: Identifies the holder.
    """

    database: Database
    collection: int
    name: str
    seconds: float
    holder: uuid.UUID

    def renew(self) -> bool:
        """Hold the lease for its full duration again; false if it is another holder's, or was released."""
        changed = self.database.run(
            lambda connection: (
                connection.execute(
                    "UPDATE leases SET expires = clock_timestamp() + %s * interval '1 second'"
                    " WHERE collection = %s AND name = %b AND holder = %s",
                    [self.seconds, self.collection, self.name.encode(), self.holder],
                ).rowcount
            )
        )
        return changed > 0

    def release(self) -> None:
        """Delete the row, unless it belongs to another holder."""
        self.database.run(
            lambda connection: connection.execute(
                "DELETE FROM leases WHERE collection = %s AND name = %b AND holder = %s",
                [self.collection, self.name.encode(), self.holder],
            )
        )


def obtain(database: Database, collection: int, name: str, seconds: float) -> RowLease | None:
    """Obtain a lease; ``None`` while another holder has it."""
    validation.check_lease(name, seconds)
    holder = uuid.uuid4()
    obtained = database.run(
        lambda connection: (
            connection.execute(
                "INSERT INTO leases (collection, name, holder, expires)"
                " VALUES (%s, %b, %s, clock_timestamp() + %s * interval '1 second')"
                " ON CONFLICT (collection, name)"
                " DO UPDATE SET holder = excluded.holder, expires = excluded.expires"
                # If this transaction is repeated, the holder may already be this one.
                " WHERE leases.expires <= clock_timestamp() OR leases.holder = excluded.holder",
                [collection, name.encode(), holder, seconds],
            ).rowcount
        )
    )
    return RowLease(database, collection, name, seconds, holder) if obtained else None
