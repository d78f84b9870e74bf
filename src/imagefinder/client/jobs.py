"""Jobs of the service, seen from here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from imagefinder.client.errors import ConnectionFailedError, JobFailedError

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]

_ENDED = frozenset({"succeeded", "failed", "cancelled"})
_AGAIN = 1.0  # seconds until a broken stream is asked for again
_PATIENCE = 120.0  # seconds without any answer until the server is given up


class Jobs(Protocol):
    """What a job needs of the client."""

    def job(self, job_id: str) -> Job:
        """The job as it is now."""
        ...

    def cancel(self, job_id: str) -> Job:
        """End it."""
        ...

    def events(self, job_id: str, *, seconds: float | None = None) -> Iterator[Job]:
        """The job at every change, no longer than so many seconds."""
        ...


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is.

    Attributes:
        stage: What it does now; empty before the start.
        done: Steps of this stage that are done: pictures, mostly.
        total: Of how many; ``None`` while that is not known.
        added: Pictures added or replaced so far.
        skipped: Pictures that were there already.
        failed: Pictures that could not be used.
    """

    stage: str
    done: int
    total: int | None
    added: int
    skipped: int
    failed: int


@dataclass(frozen=True, slots=True)
class JobFailure:
    """A picture that a job could not use."""

    id: str
    uri: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was when it was asked for; ``refresh`` asks again, ``wait`` waits for its end.

    Attributes:
        id: Its name.
        kind: ``index``, ``put``, ``duplicates`` or ``rebuild``.
        collection: Name of the collection it works on.
        state: ``queued``, ``running``, ``succeeded``, ``failed`` or ``cancelled``.
        created_at: ISO 8601; so are the other times.
        started_at: When it last began to run.
        finished_at: When it ended.
        progress: How far it is.
        failures: The first pictures that could not be used.
        result: What it did or found, in the end.
        problem: Why it failed: ``code``, ``detail``, ``hint``.
    """

    id: str
    kind: str
    collection: str
    state: State
    created_at: str
    started_at: str | None
    finished_at: str | None
    progress: JobProgress
    failures: tuple[JobFailure, ...] = ()
    result: Mapping[str, Any] | None = None
    problem: Mapping[str, Any] | None = None
    _jobs: Any = field(default=None, repr=False, compare=False, kw_only=True)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in _ENDED

    def of(self, jobs: Jobs) -> Job:
        """The same, so that it can be waited for."""
        return replace(self, _jobs=jobs)

    def refresh(self) -> Job:
        """The job as it is now.

        Raises:
            ClientError: it cannot be asked for.
        """
        return self._client().job(self.id)

    def cancel(self) -> Job:
        """End it, as soon as it can; what it did so far stays.

        Raises:
            ClientError: the server says no.
        """
        return self._client().cancel(self.id)

    def wait(self, progress: Callable[[Job], None] | None = None, *, timeout: float | None = None) -> Job:
        """Wait for its end; a server that is started again meanwhile goes on with it, and so does this.

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
        end, heard, job = now() + (math.inf if timeout is None else timeout), now(), self
        while not job.ended:
            if now() >= end:
                raise TimeoutError(f"job {job.id} has not ended yet: {job.state}")
            try:
                for news in self._client().events(self.id, seconds=None if timeout is None else end - now()):
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

    def _client(self) -> Jobs:
        if self._jobs is None:
            raise ValueError("this job was not given by a client")
        jobs: Jobs = self._jobs
        return jobs
