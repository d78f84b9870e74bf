"""The jobs of a server: starting, listing, cancelling and watching them, across restarts."""

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
from imagefinder.server.jobs.queue import Entry, JobQueue
from imagefinder.server.jobs.roots import allowed, real_roots
from imagefinder.server.jobs.runner import Runner
from imagefinder.server.jobs.store import JobStore
from imagefinder.server.jobs.watch import Watch

log = logging.getLogger(__name__)

_RETRY_LOCK_SECONDS = 1.0


class JobManager:
    """Stores jobs, runs one at a time for each collection, and continues after a restart.

    It may be used from several threads. A job is durable before ``start`` returns.
    """

    def __init__(
        self,
        store: JobStore,
        collections: Callable[[str], Collection],
        settings: Settings,
        *,
        check_address: Callable[[str], None] | None = None,
    ) -> None:
        """Nothing is opened before ``open``.

        Args:
            store: Where jobs are stored.
            collections: Gives the collection of a name; raises what should be answered if there is none.
            settings: ``job_roots``, ``job_queue`` and ``url_queries`` are used.
            check_address: Refuses addresses that no job may download from; see ``Fetcher``.
        """
        self._store = store
        self._collections = collections
        self._roots = real_roots(settings.job_roots)
        self._urls_allowed = settings.url_queries
        self._queue = JobQueue(store, settings.job_queue)
        self._runner = Runner(self._queue, store, collections, roots=self._roots, check_address=check_address)
        self._opening = threading.Lock()
        self._opened = False
        self._closed = threading.Event()

    # -- beginning and end -----------------------------------------------------------------------------------

    def open(self) -> None:
        """Continue the jobs of before; if another process has them, as soon as it releases them.

        Jobs that cannot be read do not stop the server from doing other work: the error is logged, and raised for
        whoever wants jobs.
        """
        try:
            waits = self._store.exists() and not self._open()
        except ImagefinderError as error:
            log.error("the jobs cannot be read: %s (%s)", error.message, error.hint)  # noqa: TRY400
            return
        if waits:
            log.info("another server process has the jobs of this collection; waiting for it to end")
            thread = threading.Thread(target=self._wait_for_lock, name="imagefinder-jobs-lock", daemon=True)
            thread.start()

    def end_watching(self) -> None:
        """Let everybody who watches a job go, because the server stops."""
        self._queue.end_watching()

    def close(self, timeout: float = 20.0) -> None:
        """Stop; running jobs are interrupted and continue after the next start.

        Args:
            timeout: Seconds that work which cannot be interrupted may take to its end. After that it is abandoned,
                and is started again after the next start.
        """
        self._queue.end_watching()
        self._closed.set()
        self._queue.close()
        self._runner.join(timeout)
        self._queue.abandon_running()
        with self._opening:
            self._opened = False
            self._store.release()

    def _open(self) -> bool:
        """Load the stored jobs and start the threads; false while another process has the jobs."""
        with self._opening:
            if self._opened or self._closed.is_set():
                return self._opened
            if not self._store.acquire():
                return False
            waiting = self._queue.load()
            self._opened = True
            self._runner.start()
        if waiting:
            log.info("continuing with %d jobs", waiting)
        return True

    def _wait_for_lock(self) -> None:
        while not self._closed.wait(_RETRY_LOCK_SECONDS):
            try:
                if self._open():
                    return
            except ImagefinderError:
                log.exception("the jobs cannot be taken over")
                return

    def _need_open(self) -> None:
        if not self._opened and not self._open():
            raise Problem(
                "not_ready",
                "another process of this server still has the jobs",
                hint="it is ending; try again in a few seconds",
                headers={"Retry-After": "2"},
            )

    # -- what a client can do --------------------------------------------------------------------------------

    def start(self, kind: JobKind, collection: str, **spec: Any) -> Job:
        """Queue a job.

        Args:
            kind: ``add``, ``duplicates`` or ``build-index``.
            collection: Name of the collection.
            spec: For ``add`` exactly one of ``folder`` (a path), ``csv`` (text) and ``urls`` (a list), and
                optionally ``methods`` (names) and ``prune``.

        Raises:
            Problem: ``busy``, ``not_ready``, ``unknown_method``, ``folder_not_allowed``, ``folder_not_found``,
                ``url_queries_off``, and what ``collections`` raises.
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
                spec["folder"] = allowed(spec["folder"], self._roots)
            else:
                _check_urls(spec.get("urls") or (), allowed=self._urls_allowed)
        self._need_open()
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
        """Queue the putting of one picture; it is durable on return.

        Args:
            collection: Name of the collection.
            image_id: The id it gets.
            data: The encoded picture.
            metadata: The user's own JSON object.
            uri: Where it came from.

        Raises:
            Problem, StoreError: as ``start``.
        """
        self._collections(collection)
        self._need_open()
        return self._queue.add("put", collection, {"id": image_id, "metadata": metadata, "uri": uri}, data)

    def find(self, kind: JobKind, collection: str) -> Job | None:
        """The oldest job of this kind that is queued or running, if there is one."""
        for job in reversed(self._all()):
            if (job.kind, job.collection) == (kind, collection) and not job.ended:
                return job
        return None

    def get(self, job_id: str) -> Job:
        """The job of an id.

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
        collection: str | None = None,
    ) -> list[Job]:
        """Jobs, the newest first.

        Args:
            limit: Largest number of jobs.
            before: Only those older than the job of this id.
            state: Only those in this state.
            collection: Only those of this collection.
        """
        return [
            job
            for job in self._all()
            if (before is None or job.id < before)
            and (state is None or job.state == state)
            and (collection is None or job.collection == collection)
        ][:limit]

    def count(self, state: str) -> int:
        """How many jobs this process has in a state."""
        return self._queue.count(state)

    def cancel(self, job_id: str) -> Job:
        """End a job: a queued one at once, a running one as soon as it can; one that has ended stays as it is.

        Returns:
            The job as it is now.

        Raises:
            Problem: ``unknown_job``.
            StoreError: it cannot be stored.
        """
        return self._queue.cancel(self._entry(job_id))

    def watch(self, job_id: str) -> Watch:
        """Follow a job from now on; to be entered in the event loop.

        Raises:
            Problem: ``unknown_job``.
        """
        return Watch(self._queue, self._entry(job_id))

    def _all(self) -> Sequence[Job]:
        if self._store.exists():
            self._need_open()
        return self._queue.jobs()

    def _entry(self, job_id: str) -> Entry:
        if self._store.exists():
            self._need_open()
        return self._queue.entry(job_id)


def _check_urls(urls: Sequence[str], *, allowed: bool) -> None:
    """Refuse what is not to be downloaded.

    Raises:
        Problem: ``url_queries_off``.
        InputError: something that is not the address of a picture.
    """
    if not allowed:
        raise Problem("url_queries_off", "this server downloads nothing", hint="send the pictures themselves")
    for url in urls:
        if not is_web_address(url):
            raise InputError(f"{url[:200]!a} is no http(s) address")
    discover(urls)  # names those that are no pictures; nothing is downloaded
