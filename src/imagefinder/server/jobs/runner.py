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
from imagefinder.server.jobs.queue import Entry, JobQueue
from imagefinder.server.jobs.roots import allowed
from imagefinder.server.jobs.store import JobStore
from imagefinder.server.jobs.work import Done, Order, Stopped
from imagefinder.server.times import now

log = logging.getLogger(__name__)

WORKERS = 2
"""Collections worked on at the same time."""

_PUBLISH_SECONDS = 0.25
"""Shortest time between two reports of progress."""


class Runner:
    """Runs the jobs of a queue, one at a time for each collection."""

    def __init__(
        self,
        queue: JobQueue,
        store: JobStore,
        collections: Callable[[str], Collection],
        *,
        roots: Sequence[str],
        check_address: Callable[[str], None] | None,
    ) -> None:
        """No thread is started yet.

        Args:
            queue: Gives the jobs and takes their results.
            store: Has what was uploaded for them.
            collections: Gives the collection of a name; raises what the job should fail with if there is none.
            roots: Real paths of the folders that jobs may index.
            check_address: Refuses addresses that no job may download from; see ``Fetcher``.
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
        """Wait for the threads to end, ``timeout`` seconds at most."""
        end = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        while (entry := self._queue.take()) is not None:
            try:
                self._run(entry)
                self._queue.forget_old()
            except ImagefinderError:
                # What was not stored is done again after the next start, which changes nothing.
                log.exception("job %s could not be stored", entry.job.id)
            except Exception:
                log.exception("job %s", entry.job.id)

    def _run(self, entry: Entry) -> None:
        job, done, problem = entry.job, Done({}), None
        state: JobState = "succeeded"
        try:
            self._queue.save(entry)
            done = work.do(job.kind, self._collections(job.collection), self._order(entry))
        except Stopped as stopped:
            state = "cancelled" if entry.record.cancel else "queued"
            done = stopped.done or done
        except (ImagefinderError, Problem) as error:
            state, problem = "failed", error if isinstance(error, Problem) else problem_of(error)
        except Exception:
            log.exception("job %s (%s of %s) failed", job.id, job.kind, job.collection)
            state, problem = "failed", internal_error()
        if state == "queued":  # the server stops; the job continues after the next start
            self._queue.change(entry, state=state, tries=0, started_at=None)
            return
        self._queue.change(
            entry,
            state=state,
            tries=0,
            finished_at=now(),
            progress=entry.progress,
            failures=done.failures,
            result=done.result or None,
            problem=problem and JobProblem(problem.code, problem.detail, problem.hint),
        )

    def _order(self, entry: Entry) -> Order:
        spec, job = entry.record.spec, entry.job
        within, folder = None, spec.get("folder")
        if folder:
            allowed(folder, self._roots)  # the setting may have changed since the job was queued
            within = self._roots
        published = 0.0

        def tell(progress: JobProgress) -> None:
            nonlocal published
            entry.progress = progress
            if progress.added and entry.record.tries > 1:
                self._queue.change(entry, tries=1)  # it makes progress: the next crash counts as the first again
            if time.monotonic() - published >= _PUBLISH_SECONDS or progress.stage != entry.job.progress.stage:
                published = time.monotonic()
                self._queue.publish(entry, progress)

        return Order(
            spec=spec,
            data=lambda: self._store.upload(job.id),
            list_path=self._store.list_path(job.collection),
            guard=Guard(within=within, local_files=bool(folder), check_address=self._check_address),
            tell=tell,
            stop=entry.stop,
        )
