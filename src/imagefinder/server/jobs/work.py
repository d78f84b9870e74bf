"""The work of each kind of job on a collection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagefinder.collection import Collection
from imagefinder.core.errors import ImagefinderError
from imagefinder.core.jobs import MAX_FAILURES, JobFailure, JobKind, JobProblem, JobProgress
from imagefinder.core.records import Failure
from imagefinder.core.serialization import to_json
from imagefinder.core.times import now
from imagefinder.indexing.guard import Guard
from imagefinder.indexing.progress import AddReport, Progress
from imagefinder.server.errors import Problem, internal_error, problem_of
from imagefinder.server.redaction import public_uri, redacted


class JobStopped(Exception):  # noqa: N818 - a requested stop is not an error
    """The job has stopped on request.

    Attributes:
        outcome: Outcome of the job until it stopped, if available.
    """

    def __init__(self, outcome: JobOutcome | None = None) -> None:
        super().__init__()
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """The outcome of a job.

    Attributes:
        result: Result as JSON data.
        failures: The first images that failed.
    """

    result: Mapping[str, Any]
    failures: tuple[JobFailure, ...] = ()


@dataclass(frozen=True, slots=True)
class JobContext:
    """Parameters and environment of a running job.

    Attributes:
        spec: Parameters of the job, as JSON data.
        data: Returns the image or list that was uploaded for the job.
        list_path: File to which an uploaded list is written before it is read; the same for all jobs of a
            collection, so that a later list can update and prune the images of an earlier one.
        guard: Limits the files and addresses that the job may read.
        report: Receives the progress.
        stop: Set when the job should end early.
    """

    spec: Mapping[str, Any]
    data: Callable[[], bytes]
    list_path: Path
    guard: Guard
    report: Callable[[JobProgress], None]
    stop: threading.Event


def run_job(kind: JobKind, collection: Collection, context: JobContext) -> JobOutcome:
    """Run a job.

    Raises:
        JobStopped: ``context.stop`` was set.
        ImagefinderError: the job failed.
    """
    return {"add": _add, "put": _put, "duplicates": _duplicates, "build-index": _build_index}[kind](
        collection, context
    )


def collection_state(collection: Collection) -> dict[str, Any]:
    """A summary that almost always differs after images were added, replaced or removed; cheap to compute."""
    info = collection.info()
    methods = {name: [stored.images, stored.bytes] for name, stored in sorted(info.methods.items())}
    return {"images": info.images, "methods": methods}


def _add(collection: Collection, context: JobContext) -> JobOutcome:
    spec = context.spec
    sources: list[str] = spec.get("urls") or ([spec["folder"]] if spec.get("folder") else [str(context.list_path)])
    if not (spec.get("urls") or spec.get("folder")):
        context.list_path.parent.mkdir(parents=True, exist_ok=True)
        context.list_path.write_bytes(context.data())
    report = collection.add(
        *sources,
        methods=spec.get("methods") or None,
        prune=bool(spec.get("prune")),
        force_prune=bool(spec.get("force_prune")),
        verify_content=bool(spec.get("verify_content")),
        include_removed=bool(spec.get("include_removed")),
        progress=lambda progress: context.report(job_progress(progress)),
        stop=context.stop,
        guard=context.guard,
    )
    outcome = _outcome(report, spec)
    if report.interrupted:
        raise JobStopped(outcome)
    return outcome


def job_progress(progress: Progress) -> JobProgress:
    """The progress of a job that adds images."""
    if progress.stage != "add":
        percent, stored = round(100 * progress.share), progress.added + progress.replaced
        return JobProgress(progress.stage, percent, 100, stored, progress.unchanged, progress.failed)
    return JobProgress(
        stage="add",
        done=progress.done,
        total=progress.total,
        added=progress.added + progress.replaced,
        skipped=progress.unchanged,
        failed=progress.failed,
    )


def _outcome(report: AddReport, spec: Mapping[str, Any]) -> JobOutcome:
    failures = tuple(job_failure(failure, spec) for failure in report.failures[:MAX_FAILURES])
    return JobOutcome(job_result(report, spec), failures)


def job_result(report: AddReport, spec: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a job that adds images, without paths of the server."""
    result = to_json(report)
    del result["failures"]
    result["notes"] = [redacted(note, _folders(spec)) for note in report.notes]
    return dict(result)


def job_failure(failure: Failure, spec: Mapping[str, Any]) -> JobFailure:
    """A failure as clients see it, without paths of the server."""
    message = redacted(failure.message, _folders(spec))
    return JobFailure(failure.id, public_uri(failure.uri), failure.code, message)


def job_problem(error: Exception) -> JobProblem:
    """Why a job failed."""
    if isinstance(error, ImagefinderError):
        error = problem_of(error)
    problem = error if isinstance(error, Problem) else internal_error()
    return JobProblem(problem.code, problem.detail, problem.hint)


def _folders(spec: Mapping[str, Any]) -> list[str]:
    return [spec["folder"]] if spec.get("folder") else []


def _put(collection: Collection, context: JobContext) -> JobOutcome:
    context.report(JobProgress("add", 0, 1))
    image_id = context.spec["id"]
    collection.put(
        image_id, context.data(), metadata=context.spec.get("metadata"), uri=context.spec.get("uri", "")
    )
    context.report(JobProgress("add", 1, 1, added=1))
    return JobOutcome({"id": image_id})


def _duplicates(collection: Collection, context: JobContext) -> JobOutcome:
    state = collection_state(collection)  # read first, so that images added during the job make the report stale

    def progress(stage: str, done: int, total: int) -> None:
        _check_stop(context)
        context.report(JobProgress(stage, done, total))

    report = collection.duplicates(progress=progress)
    collection.keep_duplicates(report, state=state, computed_at=now())
    summary = to_json(report)
    del summary["states"]
    summary["groups"] = len(report.groups)
    return JobOutcome(summary)


def _build_index(collection: Collection, context: JobContext) -> JobOutcome:
    def progress(method: str, done: int, total: int) -> None:
        _check_stop(context)
        context.report(JobProgress(method, done, total))

    return JobOutcome(to_json(collection.rebuild_index(progress)))


def _check_stop(context: JobContext) -> None:
    if context.stop.is_set():
        raise JobStopped
