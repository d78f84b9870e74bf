"""Following the changes of a job in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

from imagefinder.core.jobs import Job
from imagefinder.server.jobs.queue import JobEntry, JobQueue


class Watch:
    """Follows one job; a context manager that belongs to the event loop in which it is entered."""

    def __init__(self, queue: JobQueue, entry: JobEntry) -> None:
        self._queue = queue
        self._entry = entry
        self._seen: Job | None = None
        self._event = asyncio.Event()

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._event.set)

        self._wake = wake
        self._queue.watch(self._entry, wake)
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.unwatch(self._entry, self._wake)

    async def next_change(self) -> Job | None:
        """Wait until the job differs from the last result and return it; ``None`` when the server shuts down."""
        while True:
            self._event.clear()
            job = self._entry.job
            if job is not self._seen:
                self._seen = job
                return job
            if self._queue.watchers_stopped:
                return None
            await self._event.wait()
