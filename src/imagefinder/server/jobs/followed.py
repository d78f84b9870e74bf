"""Watched jobs of a database."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from imagefinder.core.errors import ImagefinderError
from imagefinder.core.jobs import Job

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5


@dataclass(slots=True)
class _Watched:
    job: Job
    watchers: list[Callable[[Job | None], None]] = field(default_factory=list)


class FollowedJobs:
    """The watched jobs, read again twice a second by one thread while there are any."""

    def __init__(self, read: Callable[[str, Sequence[Any]], list[Job]]) -> None:
        """Store the function that reads jobs by a condition of SQL and its values."""
        self._read = read
        self._lock = threading.Lock()
        self._jobs: dict[str, _Watched] = {}
        self._thread: threading.Thread | None = None
        self._stopped = False

    def add(self, job: Job, watcher: Callable[[Job | None], None]) -> Callable[[], None]:
        """Follow a job that was just read; returns a function that ends this."""

        def end() -> None:
            with self._lock:
                watched = self._jobs.get(job.id)
                if watched and watcher in watched.watchers:
                    watched.watchers.remove(watcher)
                    if not watched.watchers:
                        del self._jobs[job.id]

        with self._lock:
            watched = self._jobs.setdefault(job.id, _Watched(job))
            watched.watchers.append(watcher)
            watcher(watched.job)
            if self._stopped:
                watcher(None)
            elif self._thread is None:
                self._thread = threading.Thread(target=self._follow, name="imagefinder-watch", daemon=True)
                self._thread.start()
        return end

    def stop(self) -> None:
        """Call all watchers for the last time."""
        with self._lock:
            self._stopped = True
            for watched in self._jobs.values():
                for watcher in watched.watchers:
                    watcher(None)

    def _follow(self) -> None:
        while True:
            time.sleep(_POLL_SECONDS)
            with self._lock:
                ids = list(self._jobs)
                if not ids or self._stopped:
                    self._thread = None
                    return
            try:
                found = {job.id: job for job in self._read("WHERE id = ANY(%s)", [ids])}
            except ImagefinderError as error:
                log.warning("watched jobs cannot be read: %s", error.message)
                continue
            with self._lock:
                for job_id, watched in self._jobs.items():
                    job = found.get(job_id)
                    if job is not None and job != watched.job:
                        watched.job = job
                        for watcher in tuple(watched.watchers):
                            watcher(job)
