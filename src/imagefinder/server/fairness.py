"""Fair shares: limits that leave room for other clients, whatever one client does."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")

WEIGHT = 3
"""Largest share of a client, as a multiple of what stays free."""


class FairShare:
    """A limited number of units, of which each client may use ``WEIGHT`` times as many as stay free.

    One client alone can use three quarters. Each further client that uses its full share leaves a smaller part
    free, but n such clients leave 1 / (3 n + 1) to a client that comes later.

    Attributes:
        capacity: Number of units.
        free: Number of unused units.
    """

    def __init__(self, capacity: int, *, floor: int = 1) -> None:
        """Set the limits.

        Args:
            capacity: Number of units.
            floor: Number of units that each client may use as long as they are free.
        """
        self.capacity = capacity
        self.free = capacity
        self._floor = floor
        self._used: dict[str, int] = {}

    def used(self, client: str) -> int:
        """Number of units that a client uses."""
        return self._used.get(client, 0)

    def heaviest_first(self) -> list[str]:
        """The clients that use units, by descending number of units."""
        return sorted(self._used, key=self._used.__getitem__, reverse=True)

    def allows(self, client: str, units: int = 1) -> bool:
        """Whether a client may use more units now; the empty client stands for many and has no share."""
        if not client:
            return units <= self.free
        after = self.used(client) + units
        return units <= self.free and after <= max(self._floor, WEIGHT * (self.free - units))

    def take(self, client: str, units: int = 1) -> bool:
        """Use units if the share of the client allows it; returns whether it does."""
        if not self.allows(client, units):
            return False
        if units:
            self.free -= units
            self._used[client] = self.used(client) + units
        return True

    def release(self, client: str, units: int = 1) -> None:
        """Return units."""
        if not units:
            return
        self.free += units
        self._used[client] -= units
        if not self._used[client]:
            del self._used[client]


class FairQueue:
    """Units that clients wait for; the waiting clients take turns. Belongs to one event loop.

    Attributes:
        share: The units.
        waiting: Number of requests that wait.
    """

    def __init__(self, share: FairShare) -> None:
        self.share = share
        self.waiting = 0
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def take(self, client: str) -> None:
        """Use a unit as soon as one is free for this client; ``release`` must follow."""
        queue = self._queues.get(client)
        if not queue and self.share.take(client):
            return
        if queue is None:
            queue = self._queues[client] = deque()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self.waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn in queue:
                self._remove(client, queue, turn)
            elif not turn.cancelled():  # the unit arrived at the moment of the cancellation
                self.release(client)
            raise

    def release(self, client: str) -> None:
        """Return a unit, and give free units to waiting clients, one each in turn."""
        self.share.release(client)
        refused = 0
        while refused < len(self._queues):
            waiting, queue = next(iter(self._queues.items()))
            self._queues.move_to_end(waiting)
            turn = queue[0]
            if turn.cancelled():
                self._remove(waiting, queue, turn)
            elif self.share.take(waiting):
                refused = 0
                self._remove(waiting, queue, turn)
                turn.set_result(None)
            else:
                refused += 1

    def _remove(self, client: str, queue: deque[asyncio.Future[None]], turn: asyncio.Future[None]) -> None:
        queue.remove(turn)
        self.waiting -= 1
        if not queue:
            del self._queues[client]


class FairPool:
    """Threads for blocking work; the waiting clients take turns. Belongs to one event loop.

    A thread cannot be stopped: it counts as used until its work ends, also if the request was cancelled.
    """

    def __init__(self, threads: int, *, name: str, share: FairShare) -> None:
        """Start no thread yet.

        Args:
            threads: Number of threads.
            name: Prefix of the names of the threads.
            share: The units that a client takes while it uses a thread; at most ``threads``.
        """
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._queue = FairQueue(share)

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a thread."""
        return self._queue.waiting

    @property
    def busy(self) -> int:
        """Number of threads in use."""
        return self._queue.share.capacity - self._queue.share.free

    async def run(self, client: str, work: Callable[[], T], *, ended: Callable[[], None] = lambda: None) -> T:
        """Run work in a thread as soon as one is free for this client.

        Args:
            client: The client for which the work is done.
            work: Called in the thread.
            ended: Called in the event loop when the work has ended or will not start.
        """
        loop = asyncio.get_running_loop()
        context = copy_context()
        try:
            await self._queue.take(client)
        except BaseException:
            ended()
            raise

        def on_end() -> None:
            self._queue.release(client)
            ended()

        try:
            future: Future[T] = self._pool.submit(context.run, work)
        except RuntimeError:  # closed
            on_end()
            raise
        future.add_done_callback(lambda _: _call_in_loop(loop, on_end))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Start no further work; running work continues."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _call_in_loop(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """Call a function in the event loop, from any thread; does nothing once the loop is closed."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        if not loop.is_closed():
            raise
