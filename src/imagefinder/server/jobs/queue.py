"""The queue: all jobs in memory and in the store, which one is next, and who watches them."""

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
from imagefinder.server.errors import Problem
from imagefinder.server.jobs.record import JobRecord
from imagefinder.server.jobs.store import JobStore
from imagefinder.server.times import now

KEEP_JOBS = 1000
KEEP_DAYS = 30


@dataclass(slots=True, eq=False)
class Entry:
    """A job in the queue.

    Attributes:
        record: Its latest state.
        stop: Set when it should end early.
        watchers: Called after each change.
        disk: Locked while the record is stored, so that the latest state is stored last.
        progress: The latest, published or not.
    """

    record: JobRecord
    stop: threading.Event = field(default_factory=threading.Event)
    watchers: set[Callable[[], None]] = field(default_factory=set)
    disk: threading.Lock = field(default_factory=threading.Lock)
    progress: JobProgress = field(default_factory=JobProgress)

    @property
    def job(self) -> Job:
        """What clients see of it."""
        return self.record.job

    def update(self, *, tries: int | None = None, **changes: Any) -> None:
        """Change the record in memory and call the watchers; needs the lock of the queue."""
        tries = self.record.tries if tries is None else tries
        self.record = replace(self.record, job=replace(self.record.job, **changes), tries=tries)
        self.wake()

    def wake(self) -> None:
        """Call the watchers; needs the lock of the queue."""
        for watcher in tuple(self.watchers):
            watcher()


class JobQueue:
    """All jobs of a server; may be used from several threads. The caller has the lock of the store."""

    def __init__(self, store: JobStore, max_queued: int) -> None:
        """Nothing is read yet.

        Args:
            store: Where jobs are stored.
            max_queued: Largest number of jobs that wait.
        """
        self._store = store
        self._max_queued = max_queued
        self._entries: dict[str, Entry] = {}
        self._reserved = 0  # jobs that are being stored
        self._last = 0
        self._changed = threading.Condition()
        self._closed = False
        self._watching_ended = False

    def load(self) -> int:
        """Read the jobs of before, and queue again what was running.

        Returns:
            How many jobs have not ended.

        Raises:
            StoreError: they cannot be read or written.
        """
        found = self._store.load()
        loaded = [Entry(record.after_restart()) for record in found]
        for before, entry in zip(found, loaded, strict=True):
            if entry.job.ended and not before.job.ended:
                self._store.save(entry.record)
        with self._changed:
            self._entries = {entry.job.id: entry for entry in loaded}
            self._last = max((int(entry.job.id[:14], 16) for entry in loaded), default=0)
        self.forget_old()
        return sum(not entry.job.ended for entry in loaded)

    def close(self) -> None:
        """Interrupt running jobs, give out and accept no more."""
        with self._changed:
            self._closed = True
            for entry in self._entries.values():
                entry.stop.set()
            self._changed.notify_all()

    def abandon_running(self) -> None:
        """Queue again what is still running after ``close``; the state it may end in later is not stored."""
        with self._changed:
            running = [entry for entry in self._entries.values() if entry.job.state == "running"]
        for entry in running:
            with contextlib.suppress(ImagefinderError):  # stored as running, it is queued by the next server
                self.change(entry, state="queued", tries=0)

    # -- looking -------------------------------------------------------------------------------------------------

    def jobs(self) -> list[Job]:
        """All jobs, the newest first."""
        with self._changed:
            return [self._entries[job_id].job for job_id in sorted(self._entries, reverse=True)]

    def count(self, state: str) -> int:
        """How many jobs are in a state."""
        with self._changed:
            return sum(entry.job.state == state for entry in self._entries.values())

    def entry(self, job_id: str) -> Entry:
        """The job of an id.

        Raises:
            Problem: ``unknown_job``.
        """
        with self._changed:
            entry = self._entries.get(job_id)
        if entry is None:
            raise Problem(
                "unknown_job",
                f"there is no job {job_id[:200]!a}",
                hint=f"jobs that have ended are kept for {KEEP_DAYS} days",
            )
        return entry

    # -- watching ------------------------------------------------------------------------------------------------

    @property
    def watching_ended(self) -> bool:
        """Whether the server stops and watchers should leave."""
        return self._watching_ended

    def watch(self, entry: Entry, watcher: Callable[[], None]) -> None:
        """Call ``watcher`` after each change of a job, and when watching ends; it must not block."""
        with self._changed:
            entry.watchers.add(watcher)

    def unwatch(self, entry: Entry, watcher: Callable[[], None]) -> None:
        """Stop calling a watcher."""
        with self._changed:
            entry.watchers.discard(watcher)

    def end_watching(self) -> None:
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
            StoreError: it cannot be stored.
        """
        job_id = self._reserve()
        entry = Entry(JobRecord(Job(job_id, kind, collection, "queued", now()), spec))
        try:
            self._store.add(entry.record, upload)
            with self._changed:
                self._entries[job_id] = entry
                self._changed.notify_all()
        finally:
            with self._changed:
                self._reserved -= 1
        return entry.job

    def _reserve(self) -> str:
        """A place in the queue, and the id of the job that takes it."""
        with self._changed:
            queued = sum(entry.job.state == "queued" for entry in self._entries.values()) + self._reserved
            if queued >= self._max_queued:
                raise Problem(
                    "busy",
                    f"{queued} jobs are waiting already",
                    hint="wait until some are done",
                    headers={"Retry-After": "10"},
                )
            if self._closed:
                raise Problem("not_ready", "the server is stopping", headers={"Retry-After": "5"})
            self._reserved += 1
            self._last = max(self._last + 1, time.time_ns() // 1000)  # in order, whatever the clock does
            return f"{self._last:014x}{secrets.token_hex(5)}"

    def take(self) -> Entry | None:
        """Wait for the next job and mark it as running, in memory only; ``None`` after ``close``."""
        with self._changed:
            while not self._closed:
                if (entry := self._next()) is not None:
                    tries = entry.record.tries + 1
                    entry.update(state="running", tries=tries, started_at=now(), progress=JobProgress())
                    return entry
                self._changed.wait()
            return None

    def _next(self) -> Entry | None:
        """The oldest job whose collection is free; one that may have killed the server runs alone."""
        running = [entry for entry in self._entries.values() if entry.job.state == "running"]
        if any(entry.record.tries > 1 for entry in running):
            return None
        taken = {entry.job.collection for entry in running}
        for job_id in sorted(self._entries):
            entry = self._entries[job_id]
            if entry.job.state == "queued" and entry.job.collection not in taken:
                return entry if not running or entry.record.tries == 0 else None
        return None

    def publish(self, entry: Entry, progress: JobProgress) -> None:
        """Show the progress of a job to those who watch; it is not stored."""
        with self._changed:
            entry.update(progress=progress)

    def save(self, entry: Entry) -> None:
        """Store the latest state of a job.

        Raises:
            StoreError: it cannot be stored.
        """
        with entry.disk:
            self._store.save(entry.record)

    def change(self, entry: Entry, *, tries: int, **changes: Any) -> None:
        """Store and publish a new state of a running job; one that is not running any more stays as it is.

        Raises:
            StoreError: it cannot be stored; it is published all the same.
        """
        with entry.disk:
            record = replace(entry.record, job=replace(entry.job, **changes), tries=tries)
            if entry.job.state != "running":  # abandoned by a server that stops
                return
            try:
                self._store.save(record)
            finally:
                with self._changed:
                    entry.update(tries=tries, **changes)
                    self._changed.notify_all()

    def cancel(self, entry: Entry) -> Job:
        """End a job: a queued one at once, a running one as soon as it can; one that has ended stays as it is.

        Raises:
            StoreError: it cannot be stored.
        """
        with entry.disk:
            with self._changed:
                if entry.job.ended:
                    return entry.job
                entry.record = replace(entry.record, cancel=True)
                entry.stop.set()
                if entry.job.state == "queued":
                    entry.update(state="cancelled", finished_at=now())
            self._store.save(entry.record)
            return entry.job

    def forget_old(self) -> None:
        """Remove ended jobs that are too many or too old.

        Raises:
            StoreError: they cannot be removed.
        """
        oldest = (datetime.now(UTC) - timedelta(days=KEEP_DAYS)).isoformat()
        with self._changed:
            ended = [job_id for job_id in sorted(self._entries, reverse=True) if self._entries[job_id].job.ended]
            old = [
                job_id
                for place, job_id in enumerate(ended)
                if place >= KEEP_JOBS or (self._entries[job_id].job.finished_at or "") < oldest
            ]
            for job_id in old:
                del self._entries[job_id]
        if old:
            self._store.delete(old)
