"""The threads that run queued jobs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from imagefinder.collection import Collection
from imagefinder.core.errors import ImagefinderError
from imagefinder.core.jobs import JobProblem, JobProgress, JobState
from imagefinder.indexing.guard import Guard
from imagefinder.server.errors import Problem, internal_error, problem_of
from imagefinder.server.jobs import work
from imagefinder.server.jobs.queue import JobEntry, JobQueue
from imagefinder.server.jobs.roots import resolve_folder
from imagefinder.server.jobs.store import JobStore
from imagefinder.server.jobs.work import JobContext, JobOutcome, JobStopped
from imagefinder.server.times import now

log = logging.getLogger(__name__)

WORKERS = 2
"""Number of threads, and thus of collections with a running job."""

_PUBLISH_SECONDS = 0.25
"""Shortest interval between two progress reports."""


class Runner:
    """Runs the jobs of a queue, one at a time per collection."""

    def __init__(
        self,
        queue: JobQueue,
        store: JobStore,
        collections: Callable[[str], Collection],
        *,
        roots: Sequence[str],
        check_address: Callable[[str], None] | None,
    ) -> None:
        """Store the arguments; ``start`` starts the threads.

        Args:
            queue: Source of the jobs; receives their results.
            store: Storage of the uploads of jobs.
            collections: Returns the collection with a name; raises the error of the job if it does not exist.
            roots: Real paths of the folders from which jobs may add images.
            check_address: Refuses addresses that jobs may not download from; see ``Fetcher``.
        """
        self._queue = queue
        self._store = store
        self._collections = collections
        self._roots = tuple(roots)
        self._check_address = check_address
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads; they end when the queue is closed."""
        for number in range(WORKERS):
            thread = threading.Thread(target=self._work, name=f"imagefinder-job-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def join(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for the threads to end."""
        end = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        while (entry := self._queue.take()) is not None:
            try:
                self._run(entry)
                self._queue.prune()
            except ImagefinderError:
                # A job whose end was not stored runs again after the next start; repeating it has no effect.
                log.exception("job %s could not be stored", entry.job.id)
            except Exception:
                log.exception("job %s failed outside its work", entry.job.id)

    def _run(self, entry: JobEntry) -> None:
        job, outcome, problem = entry.job, JobOutcome({}), None
        state: JobState = "succeeded"
        try:
            self._queue.save(entry)
            outcome = work.run_job(job.kind, self._collections(job.collection), self._context(entry))
        except JobStopped as stopped:
            state = "cancelled" if entry.record.cancel else "queued"
            outcome = stopped.outcome or outcome
        except (ImagefinderError, Problem) as error:
            state, problem = "failed", error if isinstance(error, Problem) else problem_of(error)
        except Exception:
            log.exception("job %s (%s, collection %s) failed", job.id, job.kind, job.collection)
            state, problem = "failed", internal_error()
        if state == "queued":  # shutdown: the job continues after the next start
            self._queue.change(entry, state=state, tries=0, started_at=None)
            return
        self._queue.change(
            entry,
            state=state,
            tries=0,
            finished_at=now(),
            progress=entry.progress,
            failures=outcome.failures,
            result=outcome.result or None,
            problem=problem and JobProblem(problem.code, problem.detail, problem.hint),
        )

    def _context(self, entry: JobEntry) -> JobContext:
        spec, job = entry.record.spec, entry.job
        within, folder = None, spec.get("folder")
        if folder:
            resolve_folder(folder, self._roots)  # the setting may have changed since the job was queued
            within = self._roots
        published = 0.0

        def report(progress: JobProgress) -> None:
            nonlocal published
            entry.progress = progress
            if progress.added and entry.record.tries > 1:
                self._queue.change(entry, tries=1)  # progress resets the count of crashes
            if time.monotonic() - published >= _PUBLISH_SECONDS or progress.stage != entry.job.progress.stage:
                published = time.monotonic()
                self._queue.publish(entry, progress)

        return JobContext(
            spec=spec,
            data=lambda: self._store.upload(job.id),
            list_path=self._store.list_path(job.collection),
            guard=Guard(within=within, local_files=bool(folder), check_address=self._check_address),
            report=report,
            stop=entry.stop,
        )
