"""Data model of the server's jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from imagefinder.core.serialization import Described

JobKind: TypeAlias = Literal["index", "put", "duplicates", "rebuild"]

JobState: TypeAlias = Literal["queued", "running", "succeeded", "failed", "cancelled"]

ENDED: frozenset[JobState] = frozenset({"succeeded", "failed", "cancelled"})
"""The final states of a job."""

MAX_FAILURES = 100
"""Largest number of failures that a job lists; the collection has all of them."""


@dataclass(frozen=True, slots=True)
class JobProgress(Described):
    """Progress of a job."""

    stage: str = ""
    """Current stage; empty before the start."""

    done: int = 0
    """Number of completed steps of this stage; a step is usually an image."""

    total: int | None = None
    """Number of steps of this stage; ``None`` until it is determined."""

    added: int = 0
    """Number of images added or replaced so far."""

    skipped: int = 0
    """Number of images that were already up to date."""

    failed: int = 0
    """Number of images that could not be added."""


@dataclass(frozen=True, slots=True)
class JobFailure(Described):
    """An image that a job could not add."""

    id: str
    """Id that the image would have had."""

    uri: str
    """Source of the image if it is a URL; otherwise empty."""

    code: str
    """Stable, machine-readable name of the kind of error."""

    message: str
    """What happened."""


@dataclass(frozen=True, slots=True)
class JobProblem(Described):
    """The error of a failed job."""

    code: str
    """Stable, machine-readable name of the kind of problem."""

    detail: str
    """What happened."""

    hint: str
    """What to do next; may be empty."""


@dataclass(frozen=True, slots=True)
class Job(Described):
    """A job of the server."""

    id: str
    """Id of the job; later jobs have greater ids."""

    kind: JobKind
    """Kind of work."""

    collection: str
    """Name of the collection."""

    state: JobState
    """Current state."""

    created_at: str
    """Time of creation; ISO 8601, UTC."""

    started_at: str | None = None
    """Time of the latest start; ISO 8601, UTC."""

    finished_at: str | None = None
    """Time of the end; ISO 8601, UTC."""

    progress: JobProgress = field(default_factory=JobProgress)
    """Progress of the job."""

    failures: tuple[JobFailure, ...] = ()
    """The first images that could not be added, at most 100."""

    result: Mapping[str, Any] | None = None
    """Result of an ended job, depending on its kind."""

    problem: JobProblem | None = None
    """Error of a failed job; null otherwise."""

    @property
    def ended(self) -> bool:
        """Whether its state is final."""
        return self.state in ENDED
