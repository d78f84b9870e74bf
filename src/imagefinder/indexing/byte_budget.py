"""A limit on the bytes queued between two pipeline stages."""

from __future__ import annotations

import threading


class ByteBudget:
    """Limits the bytes queued between two stages.

    The task that is next in line always passes, however full the queue is. This prevents deadlocks and admits
    images that are larger than the whole budget.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0
        self._next = 0
        self._open = False
        self._changed = threading.Condition()

    def acquire(self, ticket: int, nbytes: int, limit: int) -> None:
        """Wait until ``nbytes`` more fit within ``limit``, then count them."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._open or ticket <= self._next or self._used + nbytes <= limit,
            )
            self._used += nbytes

    def adjust(self, nbytes: int) -> None:
        """Add ``nbytes``, which may be negative."""
        with self._changed:
            self._used += nbytes
            self._changed.notify_all()

    def admit(self, ticket: int) -> None:
        """Let this ticket and all earlier ones pass."""
        with self._changed:
            self._next = ticket
            self._changed.notify_all()

    def lift(self) -> None:
        """Let every ticket pass from now on."""
        with self._changed:
            self._open = True
            self._changed.notify_all()
