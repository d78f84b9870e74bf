"""Job management: start, list, cancel and watch jobs, across restarts of the server."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from imagefinder.collection import Collection
from imagefinder.core.addresses import is_web_address
from imagefinder.core.errors import ImagefinderError, InputError, UnknownMethodError
from imagefinder.core.jobs import Job, JobKind, JobState
from imagefinder.core.settings import Settings
from imagefinder.indexing.discover import discover
from imagefinder.server.errors import Problem, problem_of
from imagefinder.server.jobs.queue import JobEntry, JobQueue
from imagefinder.server.jobs.roots import resolve_folder, resolve_roots
from imagefinder.server.jobs.runner import Runner
from imagefinder.server.jobs.store import JobStore
from imagefinder.server.jobs.watch import Watch

log = logging.getLogger(__name__)

_RETRY_LOCK_SECONDS = 1.0


class JobManager:
    """Stores jobs, runs one at a time per collection, and continues them after a restart.

    Safe to use from several threads. A job is durable when ``start`` returns.
    """

    def __init__(
        self,
        store: JobStore,
        collections: Callable[[str], Collection],
        settings: Settings,
        *,
        check_address: Callable[[str], None] | None = None,
    ) -> None:
        """Store the parts; ``open`` opens the jobs.

        Args:
            store: Storage of the jobs.
            collections: Returns the collection with a name; raises the error to report if it does not exist.
            settings: Settings; ``job_roots``, ``job_queue`` and ``url_queries`` are used.
            check_address: Refuses addresses that jobs may not download from; see ``Fetcher``.
        """
        self._store = store
        self._collections = collections
        self._roots = resolve_roots(settings.job_roots)
        self._urls_allowed = settings.url_queries
        self._queue = JobQueue(store, settings.job_queue)
        self._runner = Runner(self._queue, store, collections, roots=self._roots, check_address=check_address)
        self._opening = threading.Lock()
        self._opened = False
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

    def stop_watchers(self) -> None:
        """Wake all watchers for the last time, because the server is shutting down."""
        self._queue.stop_watchers()

    def close(self, timeout: float = 20.0) -> None:
        """Stop the jobs; running ones are interrupted and continue after the next start.

        Args:
            timeout: Seconds to wait for work that cannot be interrupted. After that it is abandoned and starts
                again after the next start.
        """
        self._queue.stop_watchers()
        self._closed.set()
        self._queue.close()
        self._runner.join(timeout)
        self._queue.abandon_running()
        with self._opening:
            self._opened = False
            self._store.release()

    def _open(self) -> bool:
        """Load the stored jobs and start the threads; false while another process has locked the jobs."""
        with self._opening:
            if self._opened or self._closed.is_set():
                return self._opened
            if not self._store.acquire():
                return False
            waiting = self._queue.load()
            self._opened = True
            self._runner.start()
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
        if not self._opened and not self._open():
            raise Problem(
                "not_ready",
                "another process of this server still has the jobs locked",
                hint="that process is shutting down; try again in a few seconds",
                headers={"Retry-After": "2"},
            )

    # -- requests of clients ---------------------------------------------------------------------------------

    def start(self, kind: JobKind, collection: str, **spec: Any) -> Job:
        """Queue a job.

        Args:
            kind: ``add``, ``duplicates`` or ``build-index``.
            collection: Name of the collection.
            spec: For ``add`` exactly one of ``folder`` (a path), ``csv`` (text) and ``urls`` (a list), and
                optionally ``methods`` (names), ``prune``, ``force_prune``, ``verify_content`` and
                ``include_removed``.

        Returns:
            The queued job; it is durable.

        Raises:
            Problem: ``busy``, ``not_ready``, ``unknown_method``, ``folder_not_allowed``, ``folder_not_found``,
                ``url_queries_off``, and the problems of an unknown collection.
            InputError: an invalid URL.
            StoreError: the job cannot be stored.
        """
        opened = self._collections(collection)
        for name in spec.get("methods") or ():
            try:
                opened.method(name)
            except UnknownMethodError as error:
                problem = problem_of(error)
                problem.members["field"] = "methods"
                raise problem from error
        csv = spec.pop("csv", None)
        if kind == "add":
            if spec.get("folder") is not None:
                spec["folder"] = resolve_folder(spec["folder"], self._roots)
            else:
                _check_urls(spec.get("urls") or (), allowed=self._urls_allowed)
        self._ensure_open()
        return self._queue.add(kind, collection, spec, csv.encode("utf-8") if csv is not None else None)

    def start_put(
        self,
        collection: str,
        image_id: str,
        data: bytes,
        metadata: Mapping[str, Any] | None = None,
        *,
        uri: str = "",
    ) -> Job:
        """Queue a job that adds or replaces one image; the job and the image are durable on return.

        Args:
            collection: Name of the collection.
            image_id: Id of the image.
            data: The encoded image.
            metadata: The user's JSON object.
            uri: URL from which the image was downloaded; empty if it was uploaded.

        Raises:
            Problem, StoreError: as ``start``.
        """
        self._collections(collection)
        self._ensure_open()
        return self._queue.add("put", collection, {"id": image_id, "metadata": metadata, "uri": uri}, data)

    def find(self, kind: JobKind, collection: str) -> Job | None:
        """The oldest queued or running job of this kind, or ``None``."""
        for job in reversed(self._all()):
            if (job.kind, job.collection) == (kind, collection) and not job.ended:
                return job
        return None

    def get(self, job_id: str) -> Job:
        """The job with this id.

        Raises:
            Problem: ``unknown_job``.
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
        """Jobs, newest first.

        Args:
            limit: Largest number of jobs.
            before: Only jobs older than the job with this id.
            state: Only jobs in this state.
            visible: Only jobs of collections for which this returns true.
        """
        return [
            job
            for job in self._all()
            if (before is None or job.id < before)
            and (state is None or job.state == state)
            and visible(job.collection)
        ][:limit]

    def count(self, state: str) -> int:
        """Number of jobs of this process in a state."""
        return self._queue.count(state)

    def cancel(self, job_id: str) -> Job:
        """Cancel a job: a queued one ends immediately, a running one as soon as possible.

        Returns:
            The job in its new state; an ended job is unchanged.

        Raises:
            Problem: ``unknown_job``.
            StoreError: the job cannot be stored.
        """
        return self._queue.cancel(self._entry(job_id))

    def watch(self, job_id: str) -> Watch:
        """Follow a job from now on; enter the returned context manager in the event loop.

        Raises:
            Problem: ``unknown_job``.
        """
        return Watch(self._queue, self._entry(job_id))

    def _all(self) -> Sequence[Job]:
        if self._store.exists():
            self._ensure_open()
        return self._queue.jobs()

    def _entry(self, job_id: str) -> JobEntry:
        if self._store.exists():
            self._ensure_open()
        return self._queue.entry(job_id)


def _check_urls(urls: Sequence[str], *, allowed: bool) -> None:
    """Refuse URLs that cannot be image URLs; nothing is downloaded.

    Raises:
        Problem: ``url_queries_off``.
        InputError: a text that is not an http(s) URL of an image.
    """
    if not allowed:
        raise Problem(
            "url_queries_off", "this server does not accept image URLs", hint="upload the images instead"
        )
    for url in urls:
        if not is_web_address(url):
            raise InputError(f"{url[:200]!a} is not an http(s) URL")
    discover(urls)  # raises for URLs of other files
