"""Jobs of the server, with methods to follow and cancel them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from imagefinder.client.errors import ConnectionFailedError, JobFailedError
from imagefinder.core.jobs import Job

_RECONNECT_SECONDS = 1.0
"""Pause before a broken event stream is opened again."""

_UNREACHABLE_SECONDS = 120.0
"""Time without any response after which waiting fails."""


class JobService(Protocol):
    """The methods of the client that a job uses."""

    def job(self, job_id: str) -> RemoteJob:
        """The current state of a job."""
        ...

    def cancel(self, job_id: str) -> RemoteJob:
        """Cancel a job."""
        ...

    def events(self, job_id: str, *, seconds: float | None = None) -> Iterator[RemoteJob]:
        """The job now and after each change, for at most this many seconds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteJob(Job):
    """A job in the state that the server last reported; ``refresh`` requests its current state."""

    service: JobService = field(repr=False, compare=False)
    """The client that returned the job."""

    def refresh(self) -> RemoteJob:
        """The job in its current state.

        Raises:
            ClientError: the request failed.
        """
        return self.service.job(self.id)

    def cancel(self) -> RemoteJob:
        """Cancel the job as soon as possible; its results so far stay in the collection.

        Raises:
            ClientError: the request failed.
        """
        return self.service.cancel(self.id)

    def wait(
        self, progress: Callable[[RemoteJob], None] | None = None, *, timeout: float | None = None
    ) -> RemoteJob:
        """Wait for the end of the job, even if the server restarts in the meantime.

        Args:
            progress: Called after each change, at most a few times per second.
            timeout: Largest waiting time, seconds. The job continues after a timeout.

        Returns:
            The job in the state ``succeeded``.

        Raises:
            JobFailedError: the job failed or was cancelled.
            TimeoutError: the job has not ended in time.
            ClientError: a request failed.
        """
        now = time.monotonic
        end, last_response = now() + (math.inf if timeout is None else timeout), now()
        job = self
        while not job.ended:
            if now() >= end:
                raise TimeoutError(f"job {job.id} has not ended yet: {job.state}")
            try:
                for changed in self.service.events(self.id, seconds=None if timeout is None else end - now()):
                    job, last_response = changed, now()
                    if progress:
                        progress(job)
            except ConnectionFailedError:
                if now() - last_response > _UNREACHABLE_SECONDS:
                    raise
            if not job.ended:
                time.sleep(max(0.0, min(_RECONNECT_SECONDS, end - now())))
        if job.state != "succeeded":
            raise JobFailedError(job)
        return job
