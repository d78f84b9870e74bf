"""The job queue: all jobs in memory and in the store, their scheduling and their watchers."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from imagefinder.core.errors import ImagefinderError, NotReadyError, QueueFullError, UnknownJobError
from imagefinder.core.job_records import MAX_ENDED_DAYS, MAX_ENDED_JOBS, JobRecord, TakenJob
from imagefinder.core.jobs import Job, JobKind, JobProgress
from imagefinder.core.times import now
from imagefinder.server.jobs.store import JobStore


@dataclass(slots=True, eq=False)
class JobEntry(TakenJob):
    """A job in the queue.

    Attributes:
        client: The client that started the job; empty after a restart.
        watchers: Functions to call after each change, and with ``None`` at shutdown.
        store_lock: Held while the record is stored, so that the latest state is stored last.
    """

    client: str = ""
    watchers: set[Callable[[Job | None], None]] = field(default_factory=set)
    store_lock: threading.Lock = field(default_factory=threading.Lock)

    def update(self, *, tries: int | None = None, **changes: Any) -> None:
        """Change the record in memory and call the watchers; the caller holds the lock of the queue."""
        tries = self.record.tries if tries is None else tries
        self.record = replace(self.record, job=replace(self.record.job, **changes), tries=tries)
        self.wake()

    def wake(self) -> None:
        """Call the watchers; the caller holds the lock of the queue."""
        for watcher in tuple(self.watchers):
            watcher(self.job)


class JobQueue:
    """All jobs of a server; safe to use from several threads. The caller holds the lock of the store."""

    def __init__(self, store: JobStore, max_queued: int) -> None:
        """Store the arguments; nothing is read yet.

        Args:
            store: Storage of the jobs.
            max_queued: Largest number of queued jobs.
        """
        self._store = store
        self._max_queued = max_queued
        self._entries: dict[str, JobEntry] = {}
        self._reserved: list[str] = []  # the clients of jobs that are being stored
        self._last = 0
        self._changed = threading.Condition()
        self._closed = False
        self._watching_ended = False

    def load(self) -> int:
        """Load the stored jobs; jobs that were running are queued again.

        Returns:
            Number of jobs that have not ended.

        Raises:
            StoreError: the jobs cannot be read or written.
        """
        found = self._store.load()
        loaded = [JobEntry(record.after_restart()) for record in found]
        for before, entry in zip(found, loaded, strict=True):
            if entry.job.ended and not before.job.ended:
                self._store.save(entry.record)
        with self._changed:
            self._entries = {entry.job.id: entry for entry in loaded}
            self._last = max((int(entry.job.id[:14], 16) for entry in loaded), default=0)
        self.prune()
        return sum(not entry.job.ended for entry in loaded)

    def close(self) -> None:
        """Interrupt the running jobs; ``take`` and ``add`` return no more jobs."""
        with self._changed:
            self._closed = True
            for entry in self._entries.values():
                entry.stop.set()
            self._changed.notify_all()

    def abandon_running(self) -> None:
        """Queue the jobs that still run after ``close`` again; the state in which they end later is not stored."""
        with self._changed:
            running = [entry for entry in self._entries.values() if entry.job.state == "running"]
        for entry in running:
            with contextlib.suppress(
                ImagefinderError
            ):  # a job stored as running is queued again at the next start
                self.change(entry, state="queued", tries=0)

    # -- reading -------------------------------------------------------------------------------------------------

    def jobs(self) -> list[Job]:
        """All jobs, newest first."""
        with self._changed:
            return [self._entries[job_id].job for job_id in sorted(self._entries, reverse=True)]

    def count(self, state: str) -> int:
        """Number of jobs in a state."""
        with self._changed:
            return sum(entry.job.state == state for entry in self._entries.values())

    def entry(self, job_id: str) -> JobEntry:
        """The job with this id.

        Raises:
            UnknownJobError: there is none.
        """
        with self._changed:
            entry = self._entries.get(job_id)
        if entry is None:
            raise UnknownJobError(job_id, days=MAX_ENDED_DAYS)
        return entry

    # -- watching ------------------------------------------------------------------------------------------------

    def watch(self, entry: JobEntry, watcher: Callable[[Job | None], None]) -> Callable[[], None]:
        """Call ``watcher`` with the job now and after each change, and with ``None`` at shutdown.

        It must not block. The result is a function that ends this.
        """

        def end() -> None:
            with self._changed:
                entry.watchers.discard(watcher)

        with self._changed:
            entry.watchers.add(watcher)
            watcher(entry.job)
            if self._watching_ended:
                watcher(None)
        return end

    def stop_watchers(self) -> None:
        """Call all watchers for the last time."""
        with self._changed:
            self._watching_ended = True
            for entry in self._entries.values():
                for watcher in tuple(entry.watchers):
                    watcher(None)

    # -- changing ------------------------------------------------------------------------------------------------

    def add(
        self, kind: JobKind, collection: str, spec: Mapping[str, Any], upload: bytes | None, client: str
    ) -> Job:
        """Queue a job; it is durable on return.

        Raises:
            QueueFullError, NotReadyError: the job cannot be queued now.
            StoreError: the job cannot be stored.
        """
        job_id = self._reserve(client)
        entry = JobEntry(JobRecord(Job(job_id, kind, collection, "queued", now()), spec), client=client)
        try:
            self._store.add(entry.record, upload)
            with self._changed:
                self._entries[job_id] = entry
                self._changed.notify_all()
        finally:
            with self._changed:
                self._reserved.remove(client)
        return entry.job

    def _reserve(self, client: str) -> str:
        """Reserve a place in the queue; returns the id of the new job."""
        with self._changed:
            waiting = [entry.client for entry in self._entries.values() if entry.job.state == "queued"]
            waiting += self._reserved
            queued, own = len(waiting), waiting.count(client)
            if client and own >= max(self._max_queued // 2, 1):
                raise share_used(own)
            if queued >= self._max_queued:
                raise queue_full(queued)
            if self._closed:
                raise NotReadyError("the server is shutting down", retry_after=5)
            self._reserved.append(client)
            self._last = max(self._last + 1, time.time_ns() // 1000)  # increasing even if the clock is set back
            return f"{self._last:014x}{secrets.token_hex(5)}"

    def take(self) -> JobEntry | None:
        """Wait for the next job and mark it as running, in memory only. Returns ``None`` after ``close``."""
        with self._changed:
            while not self._closed:
                if (entry := self._next()) is not None:
                    tries = entry.record.tries + 1
                    entry.update(state="running", tries=tries, started_at=now(), progress=JobProgress())
                    return entry
                self._changed.wait()
            return None

    def _next(self) -> JobEntry | None:
        """The oldest job whose collection has no running job; one that may have crashed the server runs alone."""
        running = [entry for entry in self._entries.values() if entry.job.state == "running"]
        if any(entry.record.tries > 1 for entry in running):
            return None
        busy = {entry.job.collection for entry in running}
        for job_id in sorted(self._entries):
            entry = self._entries[job_id]
            if entry.job.state == "queued" and entry.job.collection not in busy:
                return entry if not running or entry.record.tries == 0 else None
        return None

    def publish(self, entry: JobEntry, progress: JobProgress) -> None:
        """Report the progress of a job to its watchers; it is not stored."""
        with self._changed:
            entry.update(progress=progress)

    def save(self, entry: JobEntry) -> None:
        """Store the latest state of a job.

        Raises:
            StoreError: the job cannot be stored.
        """
        with entry.store_lock:
            self._store.save(entry.record)

    def change(self, entry: JobEntry, *, tries: int, **changes: Any) -> None:
        """Store and publish a new state of a running job; a job that is not running is unchanged.

        Raises:
            StoreError: the job cannot be stored; the state is published nevertheless.
        """
        with entry.store_lock:
            record = replace(entry.record, job=replace(entry.job, **changes), tries=tries)
            if entry.job.state != "running":  # abandoned during shutdown
                return
            try:
                self._store.save(record)
            finally:
                with self._changed:
                    entry.update(tries=tries, **changes)
                    self._changed.notify_all()

    def cancel(self, entry: JobEntry) -> Job:
        """Cancel a job: a queued one ends immediately, a running one as soon as possible.

        Raises:
            StoreError: the job cannot be stored.
        """
        with entry.store_lock:
            with self._changed:
                if entry.job.ended:
                    return entry.job
                entry.record = replace(entry.record, cancel=True)
                entry.stop.set()
                if entry.job.state == "queued":
                    entry.update(state="cancelled", finished_at=now())
            self._store.save(entry.record)
            return entry.job

    def prune(self) -> None:
        """Remove ended jobs beyond ``MAX_ENDED_JOBS`` or older than ``MAX_ENDED_DAYS``.

        Raises:
            StoreError: the jobs cannot be removed.
        """
        oldest = (datetime.now(UTC) - timedelta(days=MAX_ENDED_DAYS)).isoformat()
        with self._changed:
            ended = [job_id for job_id in sorted(self._entries, reverse=True) if self._entries[job_id].job.ended]
            old = [
                job_id
                for place, job_id in enumerate(ended)
                if place >= MAX_ENDED_JOBS or (self._entries[job_id].job.finished_at or "") < oldest
            ]
            for job_id in old:
                del self._entries[job_id]
        if old:
            self._store.delete(old)


def share_used(own: int) -> QueueFullError:
    """The error for a client with too many jobs in the queue."""
    return QueueFullError(
        f"this client has {own} jobs in the queue, which is its share",
        retry_after=10,
        limit=own,
        hint="try again when some of them have ended",
    )


def queue_full(queued: int) -> QueueFullError:
    """The error for a queue with too many jobs."""
    return QueueFullError(
        f"the job queue is full ({queued} jobs)", retry_after=10, hint="try again when some jobs have ended"
    )
