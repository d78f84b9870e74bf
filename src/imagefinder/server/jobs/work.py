"""What each kind of job does with a collection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagefinder.collection import Collection
from imagefinder.core.jobs import MAX_FAILURES, JobFailure, JobKind, JobProgress
from imagefinder.core.records import Failure
from imagefinder.core.serialization import to_json
from imagefinder.indexing.guard import Guard
from imagefinder.indexing.progress import AddReport, Progress
from imagefinder.server.redaction import public_uri, redacted
from imagefinder.server.times import now


class Stopped(Exception):  # noqa: N818 - no error: what was asked for
    """The job was asked to stop, and did; what it did so far, if that can be told."""

    def __init__(self, done: Done | None = None) -> None:
        super().__init__()
        self.done = done


@dataclass(frozen=True, slots=True)
class Done:
    """What a job did."""

    result: Mapping[str, Any]
    failures: tuple[JobFailure, ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """What a job has to do, and with what.

    Attributes:
        spec: As ``manager`` stored it.
        data: Reads the picture or list that was uploaded for it.
        list_path: Where a list that was sent is put for reading; the same for each job of a collection, so that a
            later list can change and prune what an earlier one brought.
        guard: What the job may reach.
        tell: Takes the progress.
        stop: Set when it shall end early.
    """

    spec: Mapping[str, Any]
    data: Callable[[], bytes]
    list_path: Path
    guard: Guard
    tell: Callable[[JobProgress], None]
    stop: threading.Event


def do(kind: JobKind, collection: Collection, order: Order) -> Done:
    """Do the work of a kind of job.

    Raises:
        Stopped: it was told to.
        ImagefinderError: it cannot be done.
    """
    return {"add": _add, "put": _put, "duplicates": _duplicates, "build-index": _build_index}[kind](
        collection, order
    )


def collection_state(collection: Collection) -> dict[str, Any]:
    """Something that is mostly another one after pictures were added, replaced or removed; cheap to ask for."""
    info = collection.info()
    methods = {name: [held.images, held.bytes] for name, held in sorted(info.methods.items())}
    return {"images": info.images, "methods": methods}


def _add(collection: Collection, order: Order) -> Done:
    spec = order.spec
    sources: list[str] = spec.get("urls") or ([spec["folder"]] if spec.get("folder") else [str(order.list_path)])
    if not (spec.get("urls") or spec.get("folder")):
        order.list_path.parent.mkdir(parents=True, exist_ok=True)
        order.list_path.write_bytes(order.data())
    report = collection.add(
        *sources,
        methods=spec.get("methods") or None,
        prune=bool(spec.get("prune")),
        progress=lambda progress: order.tell(_indexing(progress)),
        stop=order.stop,
        guard=order.guard,
    )
    done = _report(report, spec.get("folder"))
    if report.interrupted:
        raise Stopped(done)
    if report.added or report.replaced or report.removed:
        at_end = JobProgress(added=report.added + report.replaced, skipped=report.unchanged)
        failed = len(report.failures)

        def learning(steps: int, of: int) -> None:
            # What was indexed stays; only the first search will have to learn what chance does here.
            if order.stop.is_set():
                raise Stopped(done)
            order.tell(JobProgress("calibrate", steps, of, at_end.added, at_end.skipped, failed))

        collection.calibrate(learning)
    return done


def _indexing(progress: Progress) -> JobProgress:
    return JobProgress(
        stage="add",
        done=progress.done,
        total=progress.total,
        added=progress.added + progress.replaced,
        skipped=progress.unchanged,
        failed=progress.failed,
    )


def _report(report: AddReport, folder: str | None) -> Done:
    folders = [folder] if folder else []
    result = to_json(report)
    del result["failures"]
    result["notes"] = [redacted(note, folders) for note in report.notes]
    return Done(result, tuple(_failure(failure, folders) for failure in report.failures[:MAX_FAILURES]))


def _failure(failure: Failure, folders: Sequence[str]) -> JobFailure:
    message = redacted(failure.message, folders)
    return JobFailure(failure.id, public_uri(failure.uri), failure.code, message)


def _put(collection: Collection, order: Order) -> Done:
    order.tell(JobProgress("add", 0, 1))
    image_id = order.spec["id"]
    collection.put(image_id, order.data(), metadata=order.spec.get("metadata"), uri=order.spec.get("uri", ""))
    order.tell(JobProgress("add", 1, 1, added=1))
    return Done({"id": image_id})


def _duplicates(collection: Collection, order: Order) -> Done:
    state = collection_state(collection)  # before: what is added meanwhile makes the report stale

    def progress(stage: str, done: int, total: int) -> None:
        _stop_here(order)
        order.tell(JobProgress(stage, done, total))

    report = collection.duplicates(progress=progress)
    collection.keep_duplicates(report, state=state, computed_at=now())
    summary = to_json(report)
    summary["groups"] = len(report.groups)
    return Done(summary)


def _build_index(collection: Collection, order: Order) -> Done:
    def progress(method: str, done: int, total: int) -> None:
        _stop_here(order)
        order.tell(JobProgress(method, done, total))

    return Done(to_json(collection.rebuild_index(progress)))


def _stop_here(order: Order) -> None:
    if order.stop.is_set():
        raise Stopped
