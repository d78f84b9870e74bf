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

from imagefinder.core.errors import ImagefinderError
from imagefinder.core.jobs import Job, JobKind, JobProgress
from imagefinder.server import request_context
from imagefinder.server.errors import Problem
from imagefinder.server.jobs.record import JobRecord
from imagefinder.server.jobs.store import JobStore
from imagefinder.server.times import now

MAX_ENDED_JOBS = 1000
MAX_ENDED_DAYS = 30


@dataclass(slots=True, eq=False)
class JobEntry:
    """A job in the queue.

    Attributes:
        record: Latest state of the job.
        stop: Set when the job should end early.
        watchers: Functions to call after each change.
        store_lock: Held while the record is stored, so that the latest state is stored last.
        progress: Latest progress, whether published or not.
        client: The client that started the job; empty after a restart.
    """

    record: JobRecord
    client: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
    watchers: set[Callable[[], None]] = field(default_factory=set)
    store_lock: threading.Lock = field(default_factory=threading.Lock)
    progress: JobProgress = field(default_factory=JobProgress)

    @property
    def job(self) -> Job:
        """The job as clients see it."""
        return self.record.job

    def update(self, *, tries: int | None = None, **changes: Any) -> None:
        """Change the record in memory and call the watchers; the caller holds the lock of the queue."""
        tries = self.record.tries if tries is None else tries
        self.record = replace(self.record, job=replace(self.record.job, **changes), tries=tries)
        self.wake()

    def wake(self) -> None:
        """Call the watchers; the caller holds the lock of the queue."""
        for watcher in tuple(self.watchers):
            watcher()


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
            Problem: ``unknown_job``.
        """
        with self._changed:
            entry = self._entries.get(job_id)
        if entry is None:
            raise unknown_job(job_id)
        return entry

    # -- watching ------------------------------------------------------------------------------------------------

    @property
    def watchers_stopped(self) -> bool:
        """Whether the server is shutting down, so that watchers should end."""
        return self._watching_ended

    def watch(self, entry: JobEntry, watcher: Callable[[], None]) -> None:
        """Call ``watcher`` after each change of a job and at shutdown; it must not block."""
        with self._changed:
            entry.watchers.add(watcher)

    def unwatch(self, entry: JobEntry, watcher: Callable[[], None]) -> None:
        """Stop calling a watcher."""
        with self._changed:
            entry.watchers.discard(watcher)

    def stop_watchers(self) -> None:
        """Wake all watchers for the last time."""
        with self._changed:
            self._watching_ended = True
            for entry in self._entries.values():
                entry.wake()

    # -- changing ------------------------------------------------------------------------------------------------

    def add(self, kind: JobKind, collection: str, spec: Mapping[str, Any], upload: bytes | None) -> Job:
        """Queue a job; it is durable on return.

        Raises:
            Problem: ``busy`` or ``not_ready``.
            StoreError: the job cannot be stored.
        """
        caller = request_context.caller()
        client = caller.client if caller else ""
        job_id = self._reserve(client)
        entry = JobEntry(JobRecord(Job(job_id, kind, collection, "queued", now()), spec), client)
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
                raise Problem(
                    "busy",
                    f"this client has {own} jobs in the queue, which is its share",
                    hint="try again when some of them have ended",
                    headers={"Retry-After": "10"},
                    limit=own,
                )
            if queued >= self._max_queued:
                raise Problem(
                    "busy",
                    f"the job queue is full ({queued} jobs)",
                    hint="try again when some jobs have ended",
                    headers={"Retry-After": "10"},
                )
            if self._closed:
                raise Problem("not_ready", "the server is shutting down", headers={"Retry-After": "5"})
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


def unknown_job(job_id: str) -> Problem:
    """The problem for a job that does not exist or that the client may not see."""
    return Problem(
        "unknown_job",
        f"there is no job {job_id[:200]!a}",
        hint=f"ended jobs are kept for {MAX_ENDED_DAYS} days; GET /v1/jobs lists all jobs",
    )
