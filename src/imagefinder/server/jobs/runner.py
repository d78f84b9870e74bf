"""The threads that run queued jobs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from imagefinder.collection import Collection
from imagefinder.core.errors import ImagefinderError
from imagefinder.core.job_records import TakenJob, TakenPortion
from imagefinder.core.jobs import JobProgress, JobState
from imagefinder.core.service_contracts import Jobs, PortionedJobs
from imagefinder.core.times import now
from imagefinder.indexing.guard import Guard
from imagefinder.server.errors import Problem
from imagefinder.server.jobs import work
from imagefinder.server.jobs.portioned import PortionedWork
from imagefinder.server.jobs.roots import resolve_folder
from imagefinder.server.jobs.work import JobContext, JobOutcome, JobStopped

log = logging.getLogger(__name__)

ListPath: TypeAlias = Callable[[str], Path]
"""Collection -> the file to which the list of a job is written before it is read."""

_SUCCEEDED: JobState = "succeeded"
_FAILED: JobState = "failed"
_STOPPED: Mapping[bool, JobState] = {True: "cancelled", False: "queued"}  # whether it was cancelled

_PUBLISH_SECONDS = 0.25
"""Shortest interval between two progress reports."""


class Runner:
    """Runs the jobs of a queue, one at a time per collection.

    Attributes:
        portioned: Adds images in portions, in this process; ``None`` if the jobs are not divided.
    """

    def __init__(
        self,
        jobs: Jobs,
        collections: Callable[[str], Collection],
        *,
        roots: Sequence[str],
        list_path: ListPath,
        threads: int,
        check_address: Callable[[str], None] | None,
    ) -> None:
        """Store the arguments; ``start`` starts the threads.

        Args:
            jobs: Source of the jobs; receives their results.
            collections: Returns the collection with a name; raises the error of the job if it does not exist.
            roots: Real paths of the folders from which jobs may add images.
            list_path: Returns the file to which the lists of jobs of a collection are written.
            threads: Number of jobs, or portions, to work on at the same time.
            check_address: Refuses addresses that jobs may not download from; see ``Fetcher``.
        """
        self._jobs = jobs
        self.portioned = PortionedWork(jobs) if isinstance(jobs, PortionedJobs) else None
        self._collections = collections
        self._roots = tuple(roots)
        self._list_path = list_path
        self._most_threads = threads
        self._check_address = check_address
        self._starting = threading.Lock()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads, if they have not started yet; they end when the jobs are interrupted."""
        with self._starting:
            while len(self._threads) < self._most_threads:
                name = f"imagefinder-job-{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    def join(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for the threads to end."""
        end = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    @property
    def is_working(self) -> bool:
        """Whether a thread has not ended yet."""
        return any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while True:
            name = "a job"
            try:
                taken = self._jobs.take()
                if taken is None:
                    return
                name = f"job {taken.job.id}"
                self._run(taken)
            except ImagefinderError:
                # A job whose end was not stored runs again after the next start; repeating it has no effect.
                log.exception("%s could not be stored", name)
            except Exception:
                log.exception("%s failed outside its work", name)

    def _run(self, taken: TakenJob) -> None:
        job = taken.job
        try:
            outcome, problem, state = self._work_on(taken), None, _SUCCEEDED
        except JobStopped as stopped:
            outcome, problem, state = stopped.outcome or JobOutcome({}), None, _STOPPED[taken.record.cancel]
        except Exception as error:
            if not isinstance(error, (ImagefinderError, Problem)):
                log.exception("job %s (%s, collection %s) failed", job.id, job.kind, job.collection)
            outcome, problem, state = JobOutcome({}), work.job_problem(error), _FAILED
        if outcome is None:  # other work of the job remains
            return
        if state == "queued":  # shutdown: the job continues after the next start
            self._jobs.change(taken, state=state, tries=0, started_at=None)
            return
        self._jobs.change(
            taken,
            state=state,
            tries=0,
            finished_at=now(),
            progress=taken.progress,
            failures=outcome.failures,
            result=outcome.result or None,
            problem=problem,
        )

    def _work_on(self, taken: TakenJob) -> JobOutcome | None:
        """Do the work of a job, or one part of it; ``None`` if other parts remain."""
        job = taken.job
        if self.portioned is not None and isinstance(taken, TakenPortion):
            self.portioned.add(taken, lambda: self._collections(job.collection), lambda: self._context(taken))
            return None
        context, collection = self._context(taken), self._collections(job.collection)
        if self.portioned is not None and self.portioned.is_divisible(taken):
            if taken.portioned:
                taken.progress = job.progress
                return self.portioned.finish(taken, collection, context)
            self.portioned.plan(taken, collection, context)
            return None
        return work.run_job(job.kind, collection, context)

    def _context(self, taken: TakenJob) -> JobContext:
        spec, job = taken.record.spec, taken.job
        within, folder = None, spec.get("folder")
        if folder:
            resolve_folder(folder, self._roots)  # the setting may have changed since the job was queued
            within = self._roots
        published = 0.0

        def report(progress: JobProgress) -> None:
            nonlocal published
            taken.progress = progress
            if progress.added and taken.record.tries > 1:
                self._jobs.change(taken, tries=1)  # progress resets the count of crashes
            if time.monotonic() - published >= _PUBLISH_SECONDS or progress.stage != taken.job.progress.stage:
                published = time.monotonic()
                self._jobs.publish(taken, progress)

        return JobContext(
            spec=spec,
            data=lambda: self._jobs.upload(job.id),
            list_path=self._list_path(job.collection),
            guard=Guard(within=within, local_files=bool(folder), check_address=self._check_address),
            report=report,
            stop=taken.stop,
        )
