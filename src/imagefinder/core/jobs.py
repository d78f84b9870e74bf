"""The jobs of the server, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from imagefinder.core.serialization import Described

JobKind: TypeAlias = Literal["add", "put", "duplicates", "build-index"]

FORMER_KINDS: Mapping[str, JobKind] = {"index": "add", "rebuild": "build-index"}
"""Kind as named by version 0.1 -> its current name; accepted in requests and in stored jobs."""

JobState: TypeAlias = Literal["queued", "running", "succeeded", "failed", "cancelled"]

ENDED: frozenset[JobState] = frozenset({"succeeded", "failed", "cancelled"})
"""The final states of a job."""

MAX_FAILURES = 100
"""Maximum number of failures listed by a job; the collection records all of them."""


@dataclass(frozen=True, slots=True)
class JobProgress(Described):
    """Progress of a job."""

    stage: str = ""
    """Name of the current stage; empty before the start."""

    done: int = 0
    """Number of completed steps of this stage, usually images."""

    total: int | None = None
    """Number of steps of this stage; ``None`` if it is not known yet."""

    added: int = 0
    """Number of images added or replaced so far."""

    skipped: int = 0
    """Number of images skipped because they were already in the collection."""

    failed: int = 0
    """Number of images that could not be indexed."""


@dataclass(frozen=True, slots=True)
class JobFailure(Described):
    """An image that a job could not index."""

    id: str
    """Id that the image would have had."""

    uri: str
    """URL of the image; empty if it was not on the web."""

    code: str
    """Stable error code."""

    message: str
    """Description of the error."""


@dataclass(frozen=True, slots=True)
class JobProblem(Described):
    """The reason why a job failed."""

    code: str
    """Stable problem code."""

    detail: str
    """Description of the problem."""

    hint: str
    """What to do next; may be empty."""


@dataclass(frozen=True, slots=True)
class Job(Described):
    """A job of the server."""

    id: str
    """Id of the job; ids increase in order of creation."""

    kind: JobKind
    """``add``: add images from a folder, list or URLs. ``put``: add one uploaded image. ``duplicates``: find
    duplicates. ``build-index``: rebuild the ANN indexes."""

    collection: str
    """Name of the collection."""

    state: JobState
    """State of the job."""

    created_at: str
    """Time of creation; ISO 8601, UTC."""

    started_at: str | None = None
    """Time of the last start; ISO 8601, UTC."""

    finished_at: str | None = None
    """Time of the end; ISO 8601, UTC."""

    progress: JobProgress = field(default_factory=JobProgress)
    """Progress of the job."""

    failures: tuple[JobFailure, ...] = ()
    """The first images that could not be indexed, at most 100."""

    result: Mapping[str, Any] | None = None
    """Result of the job, once it has ended; its members depend on the kind."""

    problem: JobProblem | None = None
    """Why the job failed; ``None`` if it did not."""

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class JobPage(Described):
    """A page of jobs, newest first."""

    jobs: tuple[Job, ...]
    """The jobs of this page."""

    next_cursor: str | None
    """Cursor of the next page; null on the last page."""
