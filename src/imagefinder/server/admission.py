"""Admission control: a few requests compute, some more wait in a queue, and the rest are refused."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect

from imagefinder.server import request_context
from imagefinder.server.errors import Problem
from imagefinder.server.fairness import FairPool, FairShare

T = TypeVar("T")

_INITIAL_SECONDS = 0.5
"""Assumed duration of a unit of work until one has been measured."""


class _Slot:
    """What one request occupies; released when the request is over and no thread works for it any more."""

    def __init__(self, client: str) -> None:
        self.client = client
        self.bytes = 0
        self.users = 1
        self.admitted = False
        self.deadline: float | None = None


_slot: ContextVar[_Slot | None] = ContextVar("slot", default=None)


class Admission:
    """Counts requests and the bytes they keep in memory; belongs to one event loop.

    A request occupies a place from its first unit of work, not while it uploads or downloads: slow clients occupy
    only what they have sent. Each client has a fair share of the places and bytes, and waiting clients take turns.

    Attributes:
        running: Number of requests that may compute at the same time.
        requests: Number of requests that may wait or compute at the same time.
        admitted: Number of requests that upload, wait or compute.
    """

    def __init__(
        self, *, running: int, requests: int, max_bytes: int, request_bytes: int = 1, seconds: float = 0.0
    ) -> None:
        """Set the limits.

        Args:
            running: Requests that may compute at the same time.
            requests: Requests that may wait or compute at the same time.
            max_bytes: Uploaded bytes that all requests together may keep in memory.
            request_bytes: Bytes that each client may keep in memory as long as they are free.
            seconds: Time limit for downloading, waiting and computing; 0 for no limit.
        """
        self.running = running
        self.requests = requests
        self.admitted = 0
        self._places = FairShare(requests)
        self._bytes = FairShare(max_bytes, floor=request_bytes)
        self._threads = FairPool(running, name="imagefinder-work", share=FairShare(running, floor=running))
        # One thread, because parsing keeps the interpreter busy and needs several times the size of the body.
        self._parser = FairPool(1, name="imagefinder-parse", share=FairShare(1))
        self._seconds = seconds
        self._mean_seconds = _INITIAL_SECONDS

    @property
    def computing(self) -> int:
        """Number of busy threads, including those whose request has timed out."""
        return self._threads.busy

    @property
    def waiting(self) -> int:
        """Number of units of work that wait for a thread."""
        return self._threads.waiting

    @property
    def upload_bytes(self) -> int:
        """Uploaded bytes in memory."""
        return self._bytes.capacity - self._bytes.free

    @contextmanager
    def admit(self) -> Iterator[Callable[[int], None]]:
        """Admit a request; yields the function that reserves memory for each chunk the request keeps.

        Raises:
            Problem: ``busy``: too many requests; from the yielded function: the upload memory is used up.
        """
        slot = _Slot(request_context.client())
        if not self._places.allows(slot.client):
            raise self._busy("requests (concurrent, queue)")  # before the upload, which would be in vain
        self.admitted += 1

        def reserve(size: int) -> None:
            if not self._bytes.take(slot.client, size):
                raise self._busy("uploads (max_upload_bytes)")
            slot.bytes += size

        token = _slot.set(slot)
        try:
            yield reserve
        finally:
            _slot.reset(token)
            self._release(slot)

    def deadline(self) -> float | None:
        """The time (of the event loop) at which the current request times out; ``None`` for no limit.

        The first call starts the clock. It comes from the first download or unit of work, after the upload.
        """
        return self._deadline(_slot.get() or _Slot(request_context.client()))

    async def run(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread as soon as one is free.

        A thread cannot be stopped: when a request times out, its work continues. Until that work ends, its thread,
        place and bytes count as used, because they are. Work does not start if the client has disconnected.

        Raises:
            ClientDisconnect: the client has disconnected.
            Problem: ``busy``: too many requests; ``timed_out``: the time limit has passed.
        """
        slot = _slot.get() or _Slot(request_context.client())
        deadline = self._deadline(slot)
        self._enter(slot)
        slot.users += 1
        request = request_context.current.get()
        started = 0.0

        def task() -> T:
            nonlocal started
            started = time.monotonic()
            if request is not None and request.gone():
                raise ClientDisconnect
            return work()

        def ended() -> None:
            if started:
                self._mean_seconds += 0.1 * (time.monotonic() - started - self._mean_seconds)
            self._release(slot)

        try:
            async with asyncio.timeout_at(deadline) as clock:
                return await self._threads.run(slot.client, task, ended=ended)
        except TimeoutError:
            if not clock.expired():
                raise
            raise self.timed_out(
                "did not finish" if started else "waited in the queue and did not start"
            ) from None

    async def parse(self, work: Callable[[], T]) -> T:
        """Parse a large body in a thread; the clients take turns. It needs no place: it takes milliseconds."""
        return await self._parser.run(request_context.client(), work)

    def timed_out(self, what: str, **members: Any) -> Problem:
        """The problem for a request that exceeded its time limit.

        Args:
            what: What did not happen in time.
            members: Additional members of the problem document.
        """
        return Problem(
            "timed_out",
            f"the request {what} within {self._seconds:g} s (request_seconds)",
            hint="try again when the server is less busy, or send a smaller request",
            headers={"Retry-After": str(self._retry_after())},
            **members,
        )

    def close(self) -> None:
        """Start no further work; running work continues."""
        self._threads.close()
        self._parser.close()

    def _deadline(self, slot: _Slot) -> float | None:
        if not self._seconds:
            return None
        if slot.deadline is None:
            slot.deadline = asyncio.get_running_loop().time() + self._seconds
        return slot.deadline

    def _enter(self, slot: _Slot) -> None:
        """Take the place of an admitted request, once."""
        if slot is _slot.get() and not slot.admitted:
            if not self._places.take(slot.client):
                raise self._busy("requests (concurrent, queue)")
            slot.admitted = True

    def _release(self, slot: _Slot) -> None:
        slot.users -= 1
        if slot.users:
            return
        self.admitted -= 1
        self._bytes.release(slot.client, slot.bytes)
        if slot.admitted:
            self._places.release(slot.client)

    def _retry_after(self) -> int:
        """Estimated seconds until the work admitted so far is done."""
        return min(max(math.ceil(self._mean_seconds * (self.waiting + 1) / self.running), 1), 60)

    def _busy(self, what: str) -> Problem:
        wait = self._retry_after()
        return Problem(
            "busy",
            f"the server is handling too many {what}, or this client has its share of them",
            hint=f"try again in {wait} s",
            headers={"Retry-After": str(wait)},
        )
