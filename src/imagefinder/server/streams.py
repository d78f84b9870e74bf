"""The open event streams: their number, for each client and in total, and their end at shutdown."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from imagefinder.server.errors import Problem
from imagefinder.server.fairness import WEIGHT

MAX_STREAMS = 256
"""Largest number of open event streams."""

MAX_STREAMS_PER_CLIENT = 64
"""Largest number of open event streams of one client (API key or address); fewer if few are free."""

_GRACE_SECONDS = 0.5
"""Time to send the last event of a stream at shutdown."""


class EventStreams:
    """The open event streams, which would never end by themselves; belongs to one event loop.

    Attributes:
        ending: Whether the server is shutting down.
    """

    def __init__(self) -> None:
        self.ending = False
        self._clients: dict[asyncio.Task[Any], str] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, task: asyncio.Task[Any]) -> bool:
        return task in self._clients

    def open(self, client: str) -> None:
        """Reserve a stream for the request of the current task; the end of the request releases it.

        Args:
            client: The key or address of the client.

        Raises:
            Problem: ``busy``: the client, or all clients together, have too many streams.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker: a coroutine runs in a task
        own, free = Counter(self._clients.values())[client], MAX_STREAMS - len(self._clients)
        share = max(1, min(MAX_STREAMS_PER_CLIENT, WEIGHT * (free - 1)))
        if own >= share:
            raise _busy(f"this client has {own} open event streams, its share", share)
        if len(self._clients) >= MAX_STREAMS:
            raise _busy(f"the server has {len(self._clients)} open event streams, the maximum", MAX_STREAMS)
        self.add(task, client)

    def add(self, task: asyncio.Task[Any], client: str = "") -> None:
        """Register a task whose response is an event stream."""
        self._clients.setdefault(task, client)
        if self.ending:
            task.cancel()

    def discard(self, task: asyncio.Task[Any]) -> None:
        """Unregister a task that has ended."""
        self._clients.pop(task, None)

    async def end(self) -> None:
        """End all streams at shutdown: wait briefly for them to finish, then cancel them.

        Other requests continue until the server cancels them; they are answered with a problem document.
        """
        self.ending = True
        if self._clients:
            await asyncio.wait(tuple(self._clients), timeout=_GRACE_SECONDS)
        for task in tuple(self._clients):
            task.cancel()


def _busy(reason: str, limit: int) -> Problem:
    return Problem(
        "busy",
        reason,
        hint="close unused streams and try again in 5 s, or poll GET /v1/jobs/{job}",
        headers={"Retry-After": "5"},
        limit=limit,
    )
