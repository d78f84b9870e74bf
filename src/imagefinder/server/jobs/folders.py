"""The jobs of the servers on one machine: in memory, and in the file of their state."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from imagefinder.core.errors import ImagefinderError, NotReadyError
from imagefinder.core.job_records import TakenJob
from imagefinder.core.jobs import Job, JobKind, JobProgress, JobState
from imagefinder.server.jobs.queue import JobEntry, JobQueue
from imagefinder.server.jobs.store import JobStore

log = logging.getLogger(__name__)

_RETRY_LOCK_SECONDS = 1.0


class FolderJobs:
    """The jobs of the one server process that has locked them."""

    def __init__(self, store: JobStore, max_queued: int) -> None:
        """Store the arguments; nothing is read yet.

        Args:
            store: Storage of the jobs.
            max_queued: Largest number of queued jobs.
        """
        self._store = store
        self._queue = JobQueue(store, max_queued)
        self._opening = threading.Lock()
        self._opened = threading.Event()
        self._closed = threading.Event()

    # -- startup and shutdown --------------------------------------------------------------------------------

    def open(self) -> None:
        """Continue the stored jobs; if another process has locked them, as soon as it releases them.

        Unreadable jobs do not stop the server from other work: the error is logged here, and raised by each method
        that needs the jobs.
        """
        try:
            waits = self._store.exists() and not self._open()
        except ImagefinderError as error:
            log.error("the jobs cannot be read: %s (%s)", error.message, error.hint)  # noqa: TRY400
            return
        if waits:
            log.info("waiting for another server process that has locked the jobs of this collection")
            thread = threading.Thread(target=self._wait_for_lock, name="imagefinder-jobs-lock", daemon=True)
            thread.start()

    def interrupt(self) -> None:
        """Interrupt the running jobs; ``take`` returns no more."""
        self._queue.stop_watchers()
        self._closed.set()
        self._opened.set()
        self._queue.close()

    def close(self) -> None:
        """Release the jobs, after ``interrupt``: those that still run are queued again, their ends not stored."""
        self._queue.abandon_running()
        with self._opening:
            self._opened.clear()
            self._store.release()

    def _open(self) -> bool:
        """Load the stored jobs; false while another process has locked them."""
        with self._opening:
            if self._opened.is_set() or self._closed.is_set():
                return not self._closed.is_set()
            if not self._store.acquire():
                return False
            waiting = self._queue.load()
            self._opened.set()
        if waiting:
            log.info("continuing %d unfinished jobs", waiting)
        return True

    def _wait_for_lock(self) -> None:
        while not self._closed.wait(_RETRY_LOCK_SECONDS):
            try:
                if self._open():
                    return
            except ImagefinderError:
                log.exception("the jobs cannot be opened")
                return

    def _ensure_open(self) -> None:
        if not self._opened.is_set() and not self._open():
            raise NotReadyError(
                "another process of this server still has the jobs locked",
                retry_after=2,
                hint="that process is shutting down; try again in a few seconds",
            )

    # -- requests of clients ---------------------------------------------------------------------------------

    def add(
        self,
        kind: JobKind,
        collection: str,
        spec: Mapping[str, Any],
        upload: bytes | None = None,
        *,
        client: str = "",
    ) -> Job:
        """Queue a job; it is durable on return.

        Raises:
            QueueFullError, NotReadyError: it cannot be queued now.
            StoreError: it cannot be stored.
        """
        self._ensure_open()
        return self._queue.add(kind, collection, spec, upload, client)

    def get(self, job_id: str) -> Job:
        """The job with this id.

        Raises:
            UnknownJobError: there is none.
        """
        return self._entry(job_id).job

    def list(
        self,
        *,
        limit: int = 100,
        before: str | None = None,
        state: JobState | None = None,
        visible: Callable[[str], bool] = lambda _collection: True,
    ) -> list[Job]:
        """Jobs, newest first."""
        return [
            job
            for job in self._all()
            if (before is None or job.id < before)
            and (state is None or job.state == state)
            and visible(job.collection)
        ][:limit]

    def find(self, kind: JobKind, collection: str) -> Job | None:
        """The oldest queued or running job of this kind, or ``None``."""
        for job in reversed(self._all()):
            if (job.kind, job.collection) == (kind, collection) and not job.ended:
                return job
        return None

    def count(self, state: JobState) -> int:
        """Number of jobs of this process in a state."""
        return self._queue.count(state)

    def cancel(self, job_id: str) -> Job:
        """Cancel a job: a queued one ends immediately, a running one as soon as possible.

        Raises:
            UnknownJobError: there is none.
            StoreError: the job cannot be stored.
        """
        return self._queue.cancel(self._entry(job_id))

    def watch(self, job_id: str, watcher: Callable[[Job | None], None]) -> Callable[[], None]:
        """Call ``watcher`` with the job now and after each change, and with ``None`` at shutdown.

        Raises:
            UnknownJobError: there is none.
        """
        return self._queue.watch(self._entry(job_id), watcher)

    def stop_watchers(self) -> None:
        """Call all watchers for the last time, because the server is shutting down."""
        self._queue.stop_watchers()

    # -- running ---------------------------------------------------------------------------------------------

    def take(self) -> TakenJob | None:
        """Wait for the next job and take it; ``None`` after ``interrupt``.

        Raises:
            StoreError: it cannot be stored that the job runs.
        """
        self._opened.wait()
        entry = self._queue.take()
        if entry is not None:
            self._queue.save(entry)
        return entry

    def upload(self, job_id: str) -> bytes:
        """The upload of a job that has not ended.

        Raises:
            StoreError: the upload does not exist or cannot be read.
        """
        return self._store.upload(job_id)

    def publish(self, taken: TakenJob, progress: JobProgress) -> None:
        """Report the progress of a job to its watchers; it is not stored."""
        self._queue.publish(_entry(taken), progress)

    def change(self, taken: TakenJob, *, tries: int, **changes: Any) -> None:
        """Store and publish a new state of a job; a job that this process no longer runs is unchanged.

        Raises:
            StoreError: the job cannot be stored; the state is published nevertheless.
        """
        entry = _entry(taken)
        self._queue.change(entry, tries=tries, **changes)
        if entry.job.ended:
            self._queue.prune()

    def _all(self) -> Sequence[Job]:
        if self._store.exists():
            self._ensure_open()
        return self._queue.jobs()

    def _entry(self, job_id: str) -> JobEntry:
        if self._store.exists():
            self._ensure_open()
        return self._queue.entry(job_id)


def _entry(taken: TakenJob) -> JobEntry:
    assert isinstance(taken, JobEntry)  # noqa: S101 - narrows the type: ``take`` returned it
    return taken
