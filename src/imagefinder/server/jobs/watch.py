"""Following the changes of a job in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

from imagefinder.core.jobs import Job
from imagefinder.core.service_contracts import Jobs


class Watch:
    """Follows one job; an asynchronous context manager."""

    def __init__(self, jobs: Jobs, job_id: str) -> None:
        self._jobs = jobs
        self._job_id = job_id
        self._job: Job | None = None
        self._seen: Job | None = None
        self._stopped = False
        self._event = asyncio.Event()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()

        def changed(job: Job | None) -> None:
            if job is None:
                self._stopped = True
            else:
                self._job = job
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._event.set)

        # In a thread: the jobs may be in a database.
        self._end = await asyncio.to_thread(self._jobs.watch, self._job_id, changed)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._end()

    async def next_change(self) -> Job | None:
        """Wait until the job differs from the last result and return it; ``None`` when the server shuts down."""
        while True:
            self._event.clear()
            job = self._job
            if job is not self._seen:
                self._seen = job
                return job
            if self._stopped:
                return None
            await self._event.wait()
