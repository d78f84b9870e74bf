"""A job of the server, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from imagefinder.core.serialization import Described

JobKind: TypeAlias = Literal["add", "put", "duplicates", "build-index"]

FORMER_KINDS: Mapping[str, JobKind] = {"index": "add", "rebuild": "build-index"}
"""Words of version 0.1 -> today's; accepted in requests and in stored jobs."""

JobState: TypeAlias = Literal["queued", "running", "succeeded", "failed", "cancelled"]

ENDED: frozenset[JobState] = frozenset({"succeeded", "failed", "cancelled"})
"""The states that a job does not leave any more."""

MAX_FAILURES = 100
"""Failures that a job lists, at most; the collection has all of them."""


@dataclass(frozen=True, slots=True)
class JobProgress(Described):
    """How far a job is."""

    stage: str = ""
    """What it does now; empty before the start."""

    done: int = 0
    """Steps of this stage that are done, mostly images."""

    total: int | None = None
    """Number of steps of this stage; ``None`` while that is not known."""

    added: int = 0
    """Images added or replaced so far."""

    skipped: int = 0
    """Images that were there already."""

    failed: int = 0
    """Images that could not be used."""


@dataclass(frozen=True, slots=True)
class JobFailure(Described):
    """An image that a job could not use."""

    id: str
    """The id it would have had."""

    uri: str
    """Where it would have come from, if that is a URL; otherwise empty."""

    code: str
    """Stable name of the kind of error."""

    message: str
    """What happened."""


@dataclass(frozen=True, slots=True)
class JobProblem(Described):
    """Why a job failed."""

    code: str
    """Stable name of the kind of problem."""

    detail: str
    """What happened."""

    hint: str
    """What to do next; may be empty."""


@dataclass(frozen=True, slots=True)
class Job(Described):
    """A job of the server."""

    id: str
    """Its name; later jobs have greater ids."""

    kind: JobKind
    """What it does."""

    collection: str
    """Name of the collection it works on."""

    state: JobState
    """What became of it so far."""

    created_at: str
    """ISO 8601, UTC."""

    started_at: str | None = None
    """When it last began to run; ISO 8601, UTC."""

    finished_at: str | None = None
    """When it ended; ISO 8601, UTC."""

    progress: JobProgress = field(default_factory=JobProgress)
    """How far it is."""

    failures: tuple[JobFailure, ...] = ()
    """The first images that could not be used, at most 100."""

    result: Mapping[str, Any] | None = None
    """What it did or found, at the end."""

    problem: JobProblem | None = None
    """Why it failed."""

    @property
    def ended(self) -> bool:
        """Whether its state is final."""
        return self.state in ENDED
