"""Following a job from an event loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

from imagefinder.core.jobs import Job
from imagefinder.server.jobs.queue import Entry, JobQueue


class Watch:
    """Follows one job; belongs to one event loop, in which it is entered."""

    def __init__(self, queue: JobQueue, entry: Entry) -> None:
        self._queue = queue
        self._entry = entry
        self._seen: Job | None = None
        self._event = asyncio.Event()

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._event.set)

        self._wake = wake
        self._queue.watch(self._entry, wake)
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.unwatch(self._entry, self._wake)

    async def news(self) -> Job | None:
        """The job as soon as it differs from what was returned last; ``None`` when the server stops."""
        while True:
            self._event.clear()
            job = self._entry.job
            if job is not self._seen:
                self._seen = job
                return job
            if self._queue.watching_ended:
                return None
            await self._event.wait()
