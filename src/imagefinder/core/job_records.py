"""The stored records of jobs, and jobs that a process runs."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from imagefinder.core.jobs import FORMER_KINDS, Job, JobProblem, JobProgress
from imagefinder.core.serialization import from_json
from imagefinder.core.times import now

MAX_TRIES = 3
"""A job fails after the server has died this many times in a row while it ran, without progress in between."""

MAX_ENDED_JOBS = 1000
"""Number of ended jobs that are kept."""

MAX_ENDED_DAYS = 30
"""Number of days for which ended jobs are kept."""

_MANY = 1 << 31

UNREADABLE = (ValueError, TypeError, KeyError, RecursionError)
"""What ``from_content`` raises for damaged data."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A stored job.

    Attributes:
        job: The job as clients see it.
        spec: Parameters of the job, as JSON data.
        tries: Number of starts since its last progress.
        cancel: Whether cancellation was requested.
    """

    job: Job
    spec: Mapping[str, Any] = field(default_factory=dict)
    tries: int = 0
    cancel: bool = False

    def after_restart(self) -> JobRecord:
        """The record after the server process that ran the job has ended."""
        job = self.job
        if job.ended or (job.state == "queued" and not self.cancel):
            return self
        if self.cancel:
            return replace(self, job=replace(job, state="cancelled", finished_at=now()))
        if self.tries >= MAX_TRIES:
            problem = JobProblem(
                "job_crashed",
                f"the server process died {self.tries} times while this job ran, without any progress",
                "see the server's log, and check that the machine has enough memory",
            )
            return replace(self, job=replace(job, state="failed", finished_at=now(), problem=problem))
        return replace(self, job=replace(job, state="queued", started_at=None))


@dataclass(slots=True, eq=False)
class TakenJob:
    """A job that this process runs.

    Attributes:
        record: Latest state of the job.
        stop: Set when the job should end early.
        progress: Latest progress, whether published or not.
        token: Shows that this process has taken the job, where several processes share the jobs.
        portioned: Whether all portions of the job were added, and only its end remains.
        publish_at: Time (``time.monotonic()``) from which progress is published again.
    """

    record: JobRecord
    stop: threading.Event = field(default_factory=threading.Event)
    progress: JobProgress = field(default_factory=JobProgress)
    token: uuid.UUID = field(default_factory=uuid.uuid4)
    portioned: bool = False
    publish_at: float = 0.0

    @property
    def job(self) -> Job:
        """The job as clients see it."""
        return self.record.job


@dataclass(slots=True, eq=False)
class TakenPortion(TakenJob):
    """A portion of a job, which this process adds.

    Attributes:
        number: Number of the portion in the job.
        data: The portion, as bytes.
        starts: How often it was taken, without being completed or given back.
    """

    number: int = 0
    data: bytes = b""
    starts: int = 1


def from_content(job_id: str, content: Mapping[str, Any]) -> JobRecord:
    """The record of a job from its stored content.

    Args:
        job_id: Id of the job.
        content: Mapping with ``job``, ``spec``, ``tries`` and ``cancel``.

    Raises:
        ValueError, TypeError, KeyError, RecursionError: the content is damaged.
    """
    json.dumps(content, allow_nan=False, ensure_ascii=False).encode()  # raises for data that no client could read
    stored = content["job"]
    job = from_json(Job, {**stored, "kind": FORMER_KINDS.get(stored["kind"], stored["kind"])})
    if job.id != job_id:
        raise ValueError(f"it belongs to another job, {job.id[:100]!a}")
    spec, tries, cancel = content["spec"], content["tries"], content["cancel"]
    if not (isinstance(spec, dict) and isinstance(cancel, bool) and type(tries) is int and 0 <= tries < _MANY):
        raise ValueError("it is not a job record")
    return JobRecord(job, spec, tries, cancel)
