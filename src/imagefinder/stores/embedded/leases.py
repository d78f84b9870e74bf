"""Leases: one row for each, with the time when it expires."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

from imagefinder.stores import validation
from imagefinder.stores.embedded.connections import Connections

# A clock that was set back must not prolong a lease: one that would last longer than its duration has expired.
_HELD = "expires > :now AND expires <= :now + seconds"


@dataclass(frozen=True, slots=True)
class StoredLease:
    """A lease in the database.

    Attributes:
        connections: Connections to the database.
        name: Name of the lease.
        seconds: Duration after each renewal.
        holder: Identifies the holder.
    """

    connections: Connections
    name: str
    seconds: float
    holder: str

    def renew(self) -> bool:
        """Hold the lease for its full duration again; false if it is another holder's, or was released."""
        with self.connections.writing() as database:
            changed = database.execute(
                "UPDATE leases SET expires = ? WHERE name = ? AND holder = ?",
                (time.time() + self.seconds, self.name, self.holder),
            ).rowcount
        return changed > 0

    def release(self) -> None:
        """Delete the row, unless it belongs to another holder."""
        with self.connections.writing() as database:
            database.execute("DELETE FROM leases WHERE name = ? AND holder = ?", (self.name, self.holder))


def obtain(connections: Connections, name: str, seconds: float) -> StoredLease | None:
    """Obtain a lease; ``None`` while another holder has it."""
    validation.check_lease(name, seconds)
    unexpired = f"SELECT 1 FROM leases WHERE name = :name AND {_HELD}"  # noqa: S608 - a constant
    with (
        connections.reading() as database
    ):  # whoever waits for a lease must not take the lock of writers each time
        if database.execute(unexpired, {"name": name, "now": time.time()}).fetchone():
            return None
    lease = StoredLease(connections, name, seconds, uuid.uuid4().hex)
    with connections.writing() as database:
        now = time.time()
        if database.execute(unexpired, {"name": name, "now": now}).fetchone():
            return None
        database.execute(
            "INSERT OR REPLACE INTO leases (name, holder, seconds, expires) VALUES (?, ?, ?, ?)",
            (name, lease.holder, seconds, now + seconds),
        )
    return lease
