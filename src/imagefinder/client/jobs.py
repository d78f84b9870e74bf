"""Jobs of the service, as the client follows them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from imagefinder.client.errors import ConnectionFailedError, JobFailedError
from imagefinder.core.jobs import Job

_AGAIN = 1.0  # seconds until a broken stream is opened again
_PATIENCE = 120.0  # seconds without any answer until the server is given up


class JobService(Protocol):
    """What a job needs of the client."""

    def job(self, job_id: str) -> RemoteJob:
        """The job as it is now."""
        ...

    def cancel(self, job_id: str) -> RemoteJob:
        """End it."""
        ...

    def events(self, job_id: str, *, seconds: float | None = None) -> Iterator[RemoteJob]:
        """The job at every change, no longer than this many seconds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteJob(Job):
    """A job as the service last reported it; ``refresh`` requests it again, ``wait`` waits for its end."""

    service: JobService = field(repr=False, compare=False)
    """The client that it came from."""

    def refresh(self) -> RemoteJob:
        """The job as it is now.

        Raises:
            ClientError: the request failed.
        """
        return self.service.job(self.id)

    def cancel(self) -> RemoteJob:
        """End it as soon as possible; what it did so far stays.

        Raises:
            ClientError: the request failed.
        """
        return self.service.cancel(self.id)

    def wait(
        self, progress: Callable[[RemoteJob], None] | None = None, *, timeout: float | None = None
    ) -> RemoteJob:
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
                for news in self.service.events(self.id, seconds=None if timeout is None else end - now()):
                    job, heard = news, now()
                    if progress:
                        progress(job)
            except ConnectionFailedError:
                if now() - heard > _PATIENCE:
                    raise
            if not job.ended:
                time.sleep(max(0.0, min(_AGAIN, end - now())))
        if job.state != "succeeded":
            raise JobFailedError(job)
        return job
