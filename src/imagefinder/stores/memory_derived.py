"""Derived data and leases in memory."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from imagefinder.core.records import DerivedData
from imagefinder.stores import validation
from imagefinder.stores.versions import may_replace, version_of


@dataclass(slots=True, eq=False)
class DerivedInMemory:
    """Derived data and leases by name; thread-safe.

    Attributes:
        data: Name -> data.
        leases: Name -> the lease obtained last.
        lock: Lock of both.
    """

    data: dict[str, bytes] = field(default_factory=dict)
    leases: dict[str, LeaseInMemory] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def read(self, name: str) -> DerivedData | None:
        """The data of a name and their version; ``None`` if there are none."""
        data = self.data.get(validation.check_derived_name(name))
        return None if data is None else DerivedData(data, version_of(data))

    def write(self, name: str, data: bytes, replaces: str | None) -> str | None:
        """Store data under a name; returns their version, or ``None`` if ``replaces`` is not the stored one."""
        with self.lock:
            stored = self.read(name)
            if not may_replace(stored, replaces):
                return None
            self.data[name] = bytes(data)
            return version_of(data)

    def lease(self, name: str, seconds: float) -> LeaseInMemory | None:
        """Obtain a lease; ``None`` while another holder has it."""
        validation.check_lease(name, seconds)
        with self.lock:
            last = self.leases.get(name)
            if last and last.expires > time.monotonic():
                return None
            self.leases[name] = lease = LeaseInMemory(self, name, seconds, time.monotonic() + seconds)
            return lease


@dataclass(slots=True, eq=False)
class LeaseInMemory:
    """A lease of a ``DerivedInMemory``.

    Attributes:
        owner: Where it was obtained.
        name: Name of the lease.
        seconds: Duration after each renewal.
        expires: Monotonic time when it expires.
    """

    owner: DerivedInMemory
    name: str
    seconds: float
    expires: float

    def renew(self) -> bool:
        """Hold the lease for its full duration again; false if it is another holder's, or was released."""
        with self.owner.lock:
            if self.owner.leases.get(self.name) is not self:
                return False
            self.expires = time.monotonic() + self.seconds
            return True

    def release(self) -> None:
        """Remove the lease, unless it is another holder's."""
        with self.owner.lock:
            if self.owner.leases.get(self.name) is self:
                del self.owner.leases[self.name]
