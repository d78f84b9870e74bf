"""A limit on the bytes that wait between two stages."""

from __future__ import annotations

import threading


class ByteBudget:
    """Bounds the bytes that wait between two stages.

    The task that is next in line always passes, however much waits already: so nothing can deadlock, and an image
    larger than the whole budget still gets through.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0
        self._next = 0
        self._open = False
        self._changed = threading.Condition()

    def acquire(self, ticket: int, nbytes: int, limit: int) -> None:
        """Wait until ``nbytes`` more stay within ``limit``, then count them."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._open or ticket <= self._next or self._used + nbytes <= limit,
            )
            self._used += nbytes

    def adjust(self, nbytes: int) -> None:
        """Count ``nbytes`` more, or fewer where it is negative."""
        with self._changed:
            self._used += nbytes
            self._changed.notify_all()

    def admit(self, ticket: int) -> None:
        """Let this ticket, and all before it, pass."""
        with self._changed:
            self._next = ticket
            self._changed.notify_all()

    def lift(self) -> None:
        """Let every ticket pass from now on."""
        with self._changed:
            self._open = True
            self._changed.notify_all()
