"""A job as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Self, TypeAlias, get_args

Kind: TypeAlias = Literal["index", "put", "duplicates", "rebuild"]

State: TypeAlias = Literal["queued", "running", "succeeded", "failed", "cancelled"]

ENDED: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})
"""The states that a job does not leave any more."""

MAX_FAILURES = 100
"""So many failures of a job are told; all of them are in the collection."""


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

    stage: str = ""
    done: int = 0
    total: int | None = None
    added: int = 0
    skipped: int = 0
    failed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "stage": self.stage,
            "done": self.done,
            "total": self.total,
            "added": self.added,
            "skipped": self.skipped,
            "failed": self.failed,
        }


@dataclass(frozen=True, slots=True)
class Job:
    """A job of the server.

    Attributes:
        id: Its name; later ones have greater ids.
        kind: What it does.
        collection: Name of the collection it works on.
        state: What became of it so far.
        created_at: ISO 8601, UTC; so are the other times.
        started_at: When it last began to run.
        finished_at: When it ended.
        progress: How far it is.
        failures: The first pictures that could not be used: ``id``, ``uri``, ``code``, ``message``.
        result: What it found or did, in the end.
        problem: Why it failed: ``code``, ``detail``, ``hint``.
    """

    id: str
    kind: Kind
    collection: str
    state: State
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    progress: JobProgress = field(default_factory=JobProgress)
    failures: tuple[Mapping[str, str], ...] = ()
    result: Mapping[str, Any] | None = None
    problem: Mapping[str, str] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "id": self.id,
            "kind": self.kind,
            "collection": self.collection,
            "state": self.state,
            "created_at": self.created_at,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "progress": self.progress.to_dict(),
            "failures": [dict(failure) for failure in self.failures],
            "result": None if self.result is None else dict(self.result),
            "problem": None if self.problem is None else dict(self.problem),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The job of a JSON form.

        Raises:
            KeyError, TypeError, ValueError: it is nothing of the kind.
        """
        progress = JobProgress(**data["progress"])
        job = cls(**{**data, "progress": progress, "failures": tuple(map(dict, data["failures"]))})
        counts = [progress.done, progress.added, progress.skipped, progress.failed]
        texts = [job.id, job.collection, job.created_at, progress.stage]
        texts += [text for text in (job.started_at, job.finished_at) if text is not None]
        if (
            job.kind not in get_args(Kind)
            or job.state not in get_args(State)
            or not all(type(text) is str for text in texts)
            or not all(type(count) is int for count in [*counts, progress.total or 0])
            or not all(isinstance(told, dict | None) for told in (job.result, job.problem))
        ):
            raise ValueError("it is no job")
        return job


def now() -> str:
    """This moment as jobs tell it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
