"""Jobs that add images in portions, which several servers and workers share."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from imagefinder.collection import Collection
from imagefinder.collection.portioned import PortionedAdd
from imagefinder.core.errors import ImagefinderError, StoreError
from imagefinder.core.job_records import MAX_TRIES, TakenJob, TakenPortion
from imagefinder.core.jobs import MAX_FAILURES, JobFailure
from imagefinder.core.records import Failure
from imagefinder.core.service_contracts import PortionedJobs
from imagefinder.indexing.failure_log import FailureLog
from imagefinder.indexing.portion import Lacking, Portion
from imagefinder.indexing.progress import AddReport
from imagefinder.indexing.suffixes import ARCHIVE_SUFFIXES
from imagefinder.server.errors import Problem
from imagefinder.server.jobs import work
from imagefinder.server.jobs.work import JobContext, JobOutcome, JobStopped, job_problem

log = logging.getLogger(__name__)

_COUNTS = (
    "added",
    "replaced",
    "unchanged",
    "skipped",
    "moved",
    "excluded",
    "failed",
    "failed_before",
    "refreshed",
)

_PAUSE_SECONDS = 1.0

CRASHED = "worker_crashed"
"""Code of the failure of an image that was never completed."""

_CRASHED_MESSAGE = f"{MAX_TRIES} workers ended while they added this image"


class PortionedWork:
    """Plans, adds and finishes; safe to use from several threads."""

    def __init__(self, jobs: PortionedJobs) -> None:
        self._jobs = jobs
        self._of_thread = threading.local()

    def is_divisible(self, taken: TakenJob) -> bool:
        """Whether a job can be divided: it adds images, but not those of an archive."""
        folder = str(taken.record.spec.get("folder") or "")
        return taken.job.kind == "add" and not folder.lower().endswith(ARCHIVE_SUFFIXES)

    def plan(self, taken: TakenJob, collection: Collection, context: JobContext) -> None:
        """Divide a job into portions.

        Raises:
            JobStopped: ``context.stop`` was set.
            ImagefinderError: the sources cannot be read, or the job cannot be stored.
        """
        report: dict[str, Any] = dict.fromkeys(_COUNTS, 0)
        failed: list[JobFailure] = []

        def portions(add: PortionedAdd) -> Iterator[tuple[int, bytes]]:
            failures = add.failures(collection)
            for found in add.plan(collection.settings):
                if taken.stop.is_set():
                    raise JobStopped
                if isinstance(found, Portion):
                    yield len(found.items), found.to_bytes()
                elif isinstance(found, Failure):
                    report["failed_before"] += failures.add(found)
                    report["failed"] += 1
                    failed.append(work.job_failure(found, context.spec))
                else:
                    report["skipped"] += found.skipped
            failures.flush()

        with _add_of(taken, context) as add:
            report["methods"] = add.method_names(collection)
            self._jobs.plan(taken, portions(add), report, failed)

    def add(
        self, taken: TakenPortion, collection_of: Callable[[], Collection], context_of: Callable[[], JobContext]
    ) -> None:
        """Add the images of a portion.

        Args:
            taken: The portion.
            collection_of: Returns the collection.
            context_of: Returns parameters and environment of the job.

        Raises:
            ImagefinderError: the portion cannot be added now, or its end cannot be stored; it is repeated.
        """
        try:
            collection, context = collection_of(), context_of()
            with _add_of(taken, context, with_list=False) as add:
                portion = Portion.from_bytes(taken.data, add.guard)
                if taken.starts > MAX_TRIES:
                    self._give_up(taken, add, portion, collection, context)
                    return
                before = add.lacking(collection, portion)
                if portion.lacking is None:
                    portion = replace(portion, lacking=before)
                    self._jobs.rewrite(taken, [portion.to_bytes()])
                report = self._added(taken, add, portion, collection)
        except (ImagefinderError, Problem, ValueError) as error:
            if isinstance(error, StoreError) and error.retryable:
                self._jobs.release(taken)
                time.sleep(_PAUSE_SECONDS)
                raise
            if isinstance(error, ValueError):
                log.exception("portion %d of job %s cannot be added", taken.number, taken.job.id)
            self._jobs.complete(taken, {}, (), job_problem(error))
            return
        if report is None or report.interrupted:
            self._jobs.release(taken, died=report is None)
            return
        report = _with_earlier(report, portion, before)
        shown = tuple(work.job_failure(failure, context.spec) for failure in report.failures[:MAX_FAILURES])
        self._jobs.complete(taken, {name: getattr(report, name) for name in _COUNTS}, shown)

    def _added(
        self, taken: TakenPortion, add: PortionedAdd, portion: Portion, collection: Collection
    ) -> AddReport | None:
        """Add a portion; ``None`` if the process that tried has died."""
        return add.add(collection, portion, self._failures(taken, add, collection), stop=taken.stop)

    def _give_up(
        self, taken: TakenPortion, add: PortionedAdd, portion: Portion, collection: Collection, context: JobContext
    ) -> None:
        """Divide a portion with which processes die, so that one image affects no other; record a single image."""
        if len(portion.items) > 1:
            lacking = portion.lacking or Lacking(frozenset(), frozenset())
            single = [replace(portion, items=(item,), lacking=lacking.of(item.id)) for item in portion.items]
            self._jobs.rewrite(taken, [one.to_bytes() for one in single])
            return
        failures = add.give_up(collection, portion, CRASHED, _CRASHED_MESSAGE)
        shown = tuple(work.job_failure(failure, context.spec) for failure in failures)
        self._jobs.complete(taken, {"failed": len(failures)}, shown)

    def finish(self, taken: TakenJob, collection: Collection, context: JobContext) -> JobOutcome:
        """Finish a job after all of its portions.

        Raises:
            JobStopped: ``context.stop`` was set.
            ImagefinderError: it cannot be finished.
        """
        counts = self._jobs.report(taken)
        report = AddReport(
            methods=tuple(counts["methods"]),
            added=counts["added"],
            replaced=counts["replaced"],
            unchanged=counts["unchanged"],
            removed=0,
            failures=(),
            seconds=_seconds_since(taken.job.started_at),
            interrupted=False,
            skipped=counts["skipped"],
            moved=counts["moved"],
            excluded=counts["excluded"],
            failed_before=counts["failed_before"],
            refreshed=counts["refreshed"],
        )
        with _add_of(taken, context) as add:
            report = add.finish(
                collection, report, progress=lambda one: context.report(work.job_progress(one)), stop=taken.stop
            )
        result = {**work.job_result(report, context.spec), "failed": counts["failed"]}
        outcome = JobOutcome(result, taken.job.failures)
        if report.interrupted:
            raise JobStopped(outcome)
        return outcome

    def _failures(self, taken: TakenJob, add: PortionedAdd, collection: Collection) -> FailureLog:
        """The failures of a collection, read once for the portions of a job that this thread adds."""
        known: tuple[str, FailureLog] | None = getattr(self._of_thread, "failures", None)
        if known is None or known[0] != taken.job.id:
            known = self._of_thread.failures = (taken.job.id, add.failures(collection))
        return known[1]


def _with_earlier(report: AddReport, portion: Portion, before: Lacking) -> AddReport:
    """Count images as added and replaced that earlier starts of a portion stored.

    Args:
        report: The last start, in which they were unchanged.
        portion: The portion, with what the collection lacked before the first start.
        before: What it lacked before the last one.
    """
    assert portion.lacking is not None  # noqa: S101 - narrows the type
    still = before.new | before.changed
    added, replaced = len(portion.lacking.new - still), len(portion.lacking.changed - still)
    added = min(added, report.unchanged)
    replaced = min(replaced, report.unchanged - added)
    return replace(
        report,
        added=report.added + added,
        replaced=report.replaced + replaced,
        unchanged=report.unchanged - added - replaced,
    )


@contextmanager
def _add_of(taken: TakenJob, context: JobContext, *, with_list: bool = True) -> Iterator[PortionedAdd]:
    """The sources and options of a job; an uploaded list is in a temporary file meanwhile, if ``with_list``."""
    spec = context.spec
    named = spec.get("urls") or ([spec["folder"]] if spec.get("folder") else [])
    add = PortionedAdd(
        named,
        spec.get("methods") or None,
        prune=bool(spec.get("prune")),
        force_prune=bool(spec.get("force_prune")),
        verify_content=bool(spec.get("verify_content")),
        include_removed=bool(spec.get("include_removed")),
        guard=context.guard,
    )
    if named or not with_list:
        yield add
        return
    with tempfile.TemporaryDirectory(prefix="imagefinder-") as folder:
        path = Path(folder, f"list{spec.get('list_suffix') or '.csv'}")
        path.write_bytes(context.data())
        # The same for all lists of a collection: a later list can update and prune the images of this one.
        yield replace(add, sources=[str(path)], source=f"list:{taken.job.collection}")


def _seconds_since(at: str | None) -> float:
    return time.time() - datetime.fromisoformat(at).timestamp() if at else 0.0
