"""Keeps the machine from being swamped: few searches at once, some more waiting, the rest turned away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from imagefinder.server.errors import Problem

T = TypeVar("T")


class Gate:
    """Counts requests and the bytes they hold; belongs to one event loop.

    Attributes:
        running: See ``__init__``.
        requests: Likewise.
    """

    def __init__(self, *, running: int, requests: int, max_bytes: int) -> None:
        """Set the limits.

        Args:
            running: Searches that compute at once.
            requests: Requests inside at once, those that upload or wait included.
            max_bytes: Uploaded bytes that all of them hold together.
        """
        self.running = running
        self.requests = requests
        self._threads = CapacityLimiter(running)
        self._free = requests
        self._free_bytes = max_bytes

    @contextmanager
    def admit(self) -> Iterator[Callable[[int], None]]:
        """Hold a place; gives the function by which the request accounts for each piece it keeps in memory.

        Raises:
            Problem: ``busy``: no place, or (by that function) no memory left for uploads.
        """
        if self._free < 1:
            raise _busy("requests")
        self._free -= 1
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            if size > self._free_bytes:
                raise _busy("uploads")
            self._free_bytes -= size
            held += size

        try:
            yield hold
        finally:
            self._free += 1
            self._free_bytes += held

    async def run(self, work: Callable[[], T]) -> T:
        """Do blocking work in a thread as soon as one is free."""
        return await to_thread.run_sync(work, limiter=self._threads)


def _busy(what: str) -> Problem:
    return Problem(
        "busy",
        f"too many {what} at once",
        hint="try again in a second",
        headers={"Retry-After": "1"},
    )
