"""Admission control: few requests compute, some more wait, the rest are refused."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import TypeVar

from starlette.requests import ClientDisconnect

from imagefinder.server import request_context
from imagefinder.server.errors import Problem

T = TypeVar("T")

_FIRST_GUESS = 0.5
"""Seconds a piece of work is taken to need before the first has been seen."""


class _Place:
    """What one request holds: given back when its handling is over and no thread works for it any more."""

    def __init__(self) -> None:
        self.bytes = 0
        self.holders = 1
        self.deadline: float | None = None


_place: ContextVar[_Place | None] = ContextVar("place", default=None)


class Admission:
    """Counts requests and the bytes they hold; belongs to one event loop.

    Attributes:
        running: See ``__init__``.
        requests: Likewise.
    """

    def __init__(self, *, running: int, requests: int, max_bytes: int, seconds: float = 0.0) -> None:
        """Set the limits.

        Args:
            running: Requests that compute at once.
            requests: Requests inside at once, those that upload or wait included.
            max_bytes: Uploaded bytes that all of them hold together.
            seconds: How long one may wait and compute; 0 for no limit.
        """
        self.running = running
        self.requests = requests
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._pool = ThreadPoolExecutor(running, thread_name_prefix="imagefinder-work")
        self._free = requests
        self._free_bytes = max_bytes
        self._computing = 0
        self._waiting = 0
        self._typical = _FIRST_GUESS

    @property
    def inside(self) -> int:
        """Requests that hold a place."""
        return self.requests - self._free

    @property
    def computing(self) -> int:
        """Threads at work, those included whose request was given up."""
        return self._computing

    @property
    def waiting(self) -> int:
        """Pieces of work for which no thread is free yet."""
        return self._waiting

    @property
    def upload_bytes(self) -> int:
        """Uploaded bytes held."""
        return self._max_bytes - self._free_bytes

    @contextmanager
    def admit(self) -> Iterator[Callable[[int], None]]:
        """Hold a place; gives the function by which the request accounts for each piece it keeps in memory.

        Raises:
            Problem: ``busy``: no place, or (by that function) no memory left for uploads.
        """
        if self._free < 1:
            raise self._busy("requests")
        self._free -= 1
        place = _Place()

        def hold(size: int) -> None:
            if size > self._free_bytes:
                raise self._busy("uploads")
            self._free_bytes -= size
            place.bytes += size

        token = _place.set(place)
        try:
            yield hold
        finally:
            _place.reset(token)
            self._leave(place)

    async def run(self, work: Callable[[], T]) -> T:
        """Do blocking work in a thread as soon as one is free.

        A thread cannot be stopped. Work that takes too long is given up by the request, but goes on, and until it
        ends its thread is busy, and its request's place and bytes stay taken: they really are in use. Work for a
        client that has left meanwhile is not begun.

        Raises:
            ClientDisconnect: nobody waits for the answer any more.
            Problem: ``timed_out``: it was not done in time, counted from the request's first piece of work.
        """
        loop = asyncio.get_running_loop()
        place = _place.get() or _Place()
        place.holders += 1
        if place.deadline is None:
            place.deadline = loop.time() + self._seconds if self._seconds else math.inf
        self._waiting += 1
        started = 0.0
        context = copy_context()
        this = request_context.current.get()

        def begins() -> None:
            self._waiting -= 1
            self._computing += 1

        def task() -> T:
            nonlocal started
            started = time.monotonic()
            _tell(loop, begins)
            if this is not None and this.gone():
                raise ClientDisconnect
            return context.run(work)

        def ended() -> None:
            if started:
                self._computing -= 1
                self._typical += 0.1 * (time.monotonic() - started - self._typical)
            else:
                self._waiting -= 1
            self._leave(place)

        future: Future[T] = self._pool.submit(task)
        future.add_done_callback(lambda _: _tell(loop, ended))
        try:
            async with asyncio.timeout_at(None if place.deadline == math.inf else place.deadline) as clock:
                return await asyncio.wrap_future(future)
        except TimeoutError:
            if not clock.expired():
                raise
            what = "was being computed" if started else "had to wait"
            raise Problem(
                "timed_out",
                f"the request {what} for longer than {self._seconds:g} s",
                hint="try again when the service has less to do, or ask for less",
                headers={"Retry-After": str(self._wait())},
            ) from None

    def close(self) -> None:
        """Begin no further work; what is at hand goes on."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _leave(self, place: _Place) -> None:
        place.holders -= 1
        if not place.holders:
            self._free += 1
            self._free_bytes += place.bytes

    def _wait(self) -> int:
        """Seconds until what is inside now will be done, as far as one can tell."""
        return min(max(math.ceil(self._typical * (self._waiting + 1) / self.running), 1), 60)

    def _busy(self, what: str) -> Problem:
        wait = self._wait()
        return Problem(
            "busy", f"too many {what} at once", hint=f"try again in {wait} s", headers={"Retry-After": str(wait)}
        )


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
    """Let something happen in the loop, from any thread; nobody counts any more once the loop is closed."""
    try:
        loop.call_soon_threadsafe(what)
    except RuntimeError:
        if not loop.is_closed():
            raise
