"""Admission control: a few requests compute, some more wait in a queue, and the rest are refused."""

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

_INITIAL_SECONDS = 0.5
"""Assumed duration of a unit of work until one has been measured."""


class _Slot:
    """What one request occupies; released when the request is over and no thread works for it any more."""

    def __init__(self) -> None:
        self.bytes = 0
        self.users = 1
        self.deadline: float | None = None


_slot: ContextVar[_Slot | None] = ContextVar("slot", default=None)


class Admission:
    """Counts requests and the bytes they keep in memory; belongs to one event loop.

    Attributes:
        running: Number of requests that may compute at the same time.
        requests: Number of requests that may be admitted at the same time.
    """

    def __init__(self, *, running: int, requests: int, max_bytes: int, seconds: float = 0.0) -> None:
        """Set the limits.

        Args:
            running: Requests that may compute at the same time.
            requests: Requests that may be admitted at the same time, including those that upload or wait.
            max_bytes: Uploaded bytes that all requests together may keep in memory.
            seconds: Time limit for waiting and computing; 0 for no limit.
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
        self._mean_seconds = _INITIAL_SECONDS

    @property
    def admitted(self) -> int:
        """Number of admitted requests."""
        return self.requests - self._free

    @property
    def computing(self) -> int:
        """Number of busy threads, including those whose request has timed out."""
        return self._computing

    @property
    def waiting(self) -> int:
        """Number of units of work that wait for a thread."""
        return self._waiting

    @property
    def upload_bytes(self) -> int:
        """Uploaded bytes in memory."""
        return self._max_bytes - self._free_bytes

    @contextmanager
    def admit(self) -> Iterator[Callable[[int], None]]:
        """Admit a request; yields the function that reserves memory for each chunk the request keeps.

        Raises:
            Problem: ``busy``: too many requests; from the yielded function: the upload memory is used up.
        """
        if self._free < 1:
            raise self._busy("requests")
        self._free -= 1
        slot = _Slot()

        def reserve(size: int) -> None:
            if size > self._free_bytes:
                raise self._busy("uploads")
            self._free_bytes -= size
            slot.bytes += size

        token = _slot.set(slot)
        try:
            yield reserve
        finally:
            _slot.reset(token)
            self._release(slot)

    async def run(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread as soon as one is free.

        A thread cannot be stopped: when a request times out, its work continues. Until that work ends, its thread,
        slot and bytes count as used, because they are. Work does not start if the client has disconnected.

        Raises:
            ClientDisconnect: the client has disconnected.
            Problem: ``timed_out``: the time limit, counted from the request's first unit of work, has passed.
        """
        loop = asyncio.get_running_loop()
        slot = _slot.get() or _Slot()
        slot.users += 1
        if slot.deadline is None:
            slot.deadline = loop.time() + self._seconds if self._seconds else math.inf
        self._waiting += 1
        started = 0.0
        context = copy_context()
        request = request_context.current.get()

        def on_start() -> None:
            self._waiting -= 1
            self._computing += 1

        def task() -> T:
            nonlocal started
            started = time.monotonic()
            _call_in_loop(loop, on_start)
            if request is not None and request.gone():
                raise ClientDisconnect
            return context.run(work)

        def on_end() -> None:
            if started:
                self._computing -= 1
                self._mean_seconds += 0.1 * (time.monotonic() - started - self._mean_seconds)
            else:
                self._waiting -= 1
            self._release(slot)

        future: Future[T] = self._pool.submit(task)
        future.add_done_callback(lambda _: _call_in_loop(loop, on_end))
        try:
            async with asyncio.timeout_at(None if slot.deadline == math.inf else slot.deadline) as clock:
                return await asyncio.wrap_future(future)
        except TimeoutError:
            if not clock.expired():
                raise
            what = "did not finish" if started else "waited in the queue and did not start"
            raise Problem(
                "timed_out",
                f"the request {what} within {self._seconds:g} s",
                hint="try again when the server is less busy, or send a smaller request",
                headers={"Retry-After": str(self._retry_after())},
            ) from None

    def close(self) -> None:
        """Start no further work; running work continues."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _release(self, slot: _Slot) -> None:
        slot.users -= 1
        if not slot.users:
            self._free += 1
            self._free_bytes += slot.bytes

    def _retry_after(self) -> int:
        """Estimated seconds until the work admitted so far is done."""
        return min(max(math.ceil(self._mean_seconds * (self._waiting + 1) / self.running), 1), 60)

    def _busy(self, what: str) -> Problem:
        wait = self._retry_after()
        return Problem(
            "busy",
            f"the server is handling too many {what}",
            hint=f"try again in {wait} s",
            headers={"Retry-After": str(wait)},
        )


def _call_in_loop(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """Call a function in the event loop, from any thread; does nothing once the loop is closed."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        if not loop.is_closed():
            raise
