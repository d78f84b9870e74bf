"""A job with everything that is stored of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from imagefinder.core.jobs import FORMER_KINDS, Job, JobProblem
from imagefinder.core.serialization import from_json
from imagefinder.server.times import now

MAX_TRIES = 3
"""A job that was running so many times in a row when the server died, without making progress, is given up."""

_MANY = 1 << 31

UNREADABLE = (ValueError, TypeError, KeyError, RecursionError)
"""What ``from_content`` raises for damaged data."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as it is stored.

    Attributes:
        job: What clients see of it.
        spec: What it has to do, as JSON.
        tries: How often it was started since it last made progress, without reaching an end.
        cancel: Whether it was cancelled.
    """

    job: Job
    spec: Mapping[str, Any] = field(default_factory=dict)
    tries: int = 0
    cancel: bool = False

    def after_restart(self) -> JobRecord:
        """What becomes of the job if the server that had it is gone."""
        job = self.job
        if job.ended or (job.state == "queued" and not self.cancel):
            return self
        if self.cancel:
            return replace(self, job=replace(job, state="cancelled", finished_at=now()))
        if self.tries >= MAX_TRIES:
            problem = JobProblem(
                "job_crashed",
                f"the server ended {self.tries} times while this job ran, without it getting any further",
                "see the server's log; is there enough memory?",
            )
            return replace(self, job=replace(job, state="failed", finished_at=now(), problem=problem))
        return replace(self, job=replace(job, state="queued", started_at=None))


def from_content(job_id: str, content: Mapping[str, Any]) -> JobRecord:
    """The record of a job with this content: ``job``, ``spec``, ``tries`` and ``cancel``.

    Raises:
        ValueError, TypeError, KeyError, RecursionError: it is damaged.
    """
    json.dumps(content, allow_nan=False, ensure_ascii=False).encode()  # what cannot be sent to a client is damaged
    stored = content["job"]
    job = from_json(Job, {**stored, "kind": FORMER_KINDS.get(stored["kind"], stored["kind"])})
    if job.id != job_id:
        raise ValueError(f"it is of another job, {job.id[:100]!a}")
    spec, tries, cancel = content["spec"], content["tries"], content["cancel"]
    if not (isinstance(spec, dict) and isinstance(cancel, bool) and type(tries) is int and 0 <= tries < _MANY):
        raise ValueError("it is not the record of a job")
    return JobRecord(job, spec, tries, cancel)
