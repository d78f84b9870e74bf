"""How much may wait between two stages, in bytes."""

from __future__ import annotations

import threading


class Room:
    """Bounds the bytes that wait between two stages.

    Whoever is next in line always passes, however much waits already: so nothing can lock up, and a picture
    larger than the whole room still gets through.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held = 0
        self._next = 0
        self._open = False
        self._changed = threading.Condition()

    def enter(self, ticket: int, nbytes: int, limit: int) -> None:
        """Wait until there is room for so many bytes below a limit; they count from then on."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._open or ticket <= self._next or self._held + nbytes <= limit,
            )
            self._held += nbytes

    def change(self, nbytes: int) -> None:
        """Count bytes that came or, below zero, went."""
        with self._changed:
            self._held += nbytes
            self._changed.notify_all()

    def next(self, ticket: int) -> None:
        """Let the holder of a ticket, and all before, pass."""
        with self._changed:
            self._next = ticket
            self._changed.notify_all()

    def open(self) -> None:
        """Let everybody pass."""
        with self._changed:
            self._open = True
            self._changed.notify_all()
