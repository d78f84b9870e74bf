# Generated from jobs.py by tools/make_async_client.py: edit that file.
"""Jobs of the service, as the client follows them."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol

import anyio

from imagefinder.client.errors import ConnectionFailedError, JobFailedError
from imagefinder.core.jobs import Job

_AGAIN = 1.0  # seconds until a broken stream is opened again
_PATIENCE = 120.0  # seconds without any answer until the server is given up


class AsyncJobService(Protocol):
    """What a job needs of the client."""

    async def job(self, job_id: str) -> AsyncRemoteJob:
        """The job as it is now."""
        ...

    async def cancel(self, job_id: str) -> AsyncRemoteJob:
        """End it."""
        ...

    def events(self, job_id: str, *, seconds: float | None = None) -> AsyncIterator[AsyncRemoteJob]:
        """The job at every change, no longer than this many seconds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncRemoteJob(Job):
    """A job as the service last reported it; ``refresh`` requests it again, ``wait`` waits for its end."""

    service: AsyncJobService = field(repr=False, compare=False)
    """The client that it came from."""

    async def refresh(self) -> AsyncRemoteJob:
        """The job as it is now.

        Raises:
            ClientError: the request failed.
        """
        return await self.service.job(self.id)

    async def cancel(self) -> AsyncRemoteJob:
        """End it as soon as possible; what it did so far stays.

        Raises:
            ClientError: the request failed.
        """
        return await self.service.cancel(self.id)

    async def wait(
        self, progress: Callable[[AsyncRemoteJob], None] | None = None, *, timeout: float | None = None
    ) -> AsyncRemoteJob:
        """Wait for its end, even if the server restarts meanwhile.

        Args:
            progress: Called with every change, at most some times a second.
            timeout: Seconds to wait at most; the job goes on after that.

        Returns:
            The job, succeeded.

        Raises:
            JobFailedError: it failed or was cancelled.
            TimeoutError: it has not ended yet.
            ClientError: it cannot be watched.
        """
        now = time.monotonic
        end, heard = now() + (math.inf if timeout is None else timeout), now()
        job = self
        while not job.ended:
            if now() >= end:
                raise TimeoutError(f"job {job.id} has not ended yet: {job.state}")
            try:
                async for news in self.service.events(self.id, seconds=None if timeout is None else end - now()):
                    job, heard = news, now()
                    if progress:
                        progress(job)
            except ConnectionFailedError:
                if now() - heard > _PATIENCE:
                    raise
            if not job.ended:
                await anyio.sleep(max(0.0, min(_AGAIN, end - now())))
        if job.state != "succeeded":
            raise JobFailedError(job)
        return job
