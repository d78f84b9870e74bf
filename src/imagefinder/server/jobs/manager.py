"""The queue of jobs, the threads that do them, and who watches."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from imagefinder.collection import Collection
from imagefinder.core.errors import ImagefinderError, InputError, UnknownMethodError
from imagefinder.core.jobs import Job, JobKind, JobProblem, JobProgress, JobState
from imagefinder.core.settings import Settings
from imagefinder.indexing.discover import discover
from imagefinder.indexing.guard import Guard
from imagefinder.server.errors import Problem, internal_error, problem_of
from imagefinder.server.jobs import work
from imagefinder.server.jobs.roots import allowed, real_roots
from imagefinder.server.jobs.store import JobStore, Saved
from imagefinder.server.jobs.work import Done, Order, Stopped
from imagefinder.server.times import now

log = logging.getLogger(__name__)

MAX_TRIES = 3
"""A job that ran so many times in a row when the server died, without getting any further, is given up."""

KEEP_JOBS = 1000
KEEP_DAYS = 30

_TELL = 0.25  # seconds between two reports of progress
_LOOK_AGAIN = 1.0  # seconds until the lock of another process is tried again


@dataclass(slots=True, eq=False)
class _Entry:
    """A job at work.

    Attributes:
        saved: The newest that is known of it.
        stop: Set when it shall end early.
        watchers: Called when there is news.
        disk: Held while it is written, so that the newest is written last.
        progress: The newest, told or not.
    """

    saved: Saved
    stop: threading.Event = field(default_factory=threading.Event)
    watchers: set[Callable[[], None]] = field(default_factory=set)
    disk: threading.Lock = field(default_factory=threading.Lock)
    progress: JobProgress = field(default_factory=JobProgress)

    @property
    def job(self) -> Job:
        return self.saved.job


class JobManager:
    """Keeps jobs, does one at a time for each collection, and goes on after a restart where it was.

    It may be used from several threads. A job that was given to it is on disk before ``start`` returns.
    """

    def __init__(
        self,
        store: JobStore,
        collections: Callable[[str], Collection],
        settings: Settings,
        *,
        check_address: Callable[[str], None] | None = None,
        workers: int = 2,
    ) -> None:
        """Nothing is opened before ``open``.

        Args:
            store: Where jobs are kept.
            collections: Gives the collection of a name; raises what shall be answered if there is none.
            settings: ``job_roots``, ``job_queue`` and ``url_queries`` are used.
            check_address: Refuses addresses that no job may download from; see ``Fetcher``.
            workers: Collections worked on at once.
        """
        self._store = store
        self._collections = collections
        self._roots = real_roots(settings.job_roots)
        self._max_queue = settings.job_queue
        self._urls_allowed = settings.url_queries
        self._check_address = check_address
        self._workers = workers
        self._entries: dict[str, _Entry] = {}
        self._reserved = 0  # jobs that are being written down
        self._last = 0
        self._changed = threading.Condition()
        self._opening = threading.Lock()
        self._opened = False
        self._closed = threading.Event()
        self._quiet = False  # nobody is told any more
        self._threads: list[threading.Thread] = []

    # -- beginning and end -----------------------------------------------------------------------------------

    def open(self) -> None:
        """Go on with the jobs of before; where another process still has them, as soon as it lets go.

        Jobs that cannot be read keep the server from no other work; the log tells, and whoever asks for them.
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
        with self._changed:
            self._quiet = True
            for entry in self._entries.values():
                _call(entry.watchers)

    def close(self, timeout: float = 20.0) -> None:
        """Stop; jobs at work are interrupted and go on after the next start.

        Args:
            timeout: Seconds that work which cannot be interrupted may take to its end. After that it is left
                behind, and is begun again after the next start.
        """
        self.end_watching()
        with self._changed:
            self._closed.set()
            for entry in self._entries.values():
                entry.stop.set()
            self._changed.notify_all()
        end = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        with self._changed:
            left = [entry for entry in self._entries.values() if entry.job.state == "running"]
        for entry in left:
            with contextlib.suppress(ImagefinderError):
                self._change(entry, state="queued", tries=0)
        with self._opening:
            self._opened = False
            self._store.release()

    # -- what a client can do --------------------------------------------------------------------------------

    def start(self, kind: JobKind, collection: str, **spec: Any) -> Job:
        """Queue a job.

        Args:
            kind: ``index``, ``duplicates`` or ``rebuild``.
            collection: Name of the collection.
            spec: For ``index`` exactly one of ``folder`` (a path), ``csv`` (text) and ``urls`` (a list), and if
                wanted ``methods`` (names) and ``prune``.

        Raises:
            Problem: ``busy``, ``not_ready``, ``unknown_method``, ``folder_not_allowed``, ``folder_not_found``,
                ``url_queries_off``, and what ``collections`` raises.
            InputError: a URL that is none.
            StoreError: the job cannot be written down.
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
        if kind == "index":
            if spec.get("folder") is not None:
                spec["folder"] = allowed(spec["folder"], self._roots)
            else:
                _check_urls(spec.get("urls") or (), allowed=self._urls_allowed)
        return self._queue(kind, collection, spec, csv.encode("utf-8") if csv is not None else None)

    def start_put(
        self,
        collection: str,
        image_id: str,
        data: bytes,
        metadata: Mapping[str, Any] | None = None,
        *,
        uri: str = "",
    ) -> Job:
        """Queue the putting of one picture; it is on disk on return.

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
        return self._queue("put", collection, {"id": image_id, "metadata": metadata, "uri": uri}, data)

    def find(self, kind: JobKind, collection: str) -> Job | None:
        """A job of this kind that is queued or running, if there is one; the oldest."""
        return next(
            (
                job
                for job in reversed(self._all())
                if (job.kind, job.collection) == (kind, collection) and not job.ended
            ),
            None,
        )

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
            limit: At most so many.
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
        with self._changed:
            return sum(entry.job.state == state for entry in self._entries.values())

    def cancel(self, job_id: str) -> Job:
        """End a job: a queued one at once, a running one as soon as it can; one that has ended is left as it is.

        Returns:
            The job as it is now.

        Raises:
            Problem: ``unknown_job``.
            StoreError: it cannot be written down.
        """
        entry = self._entry(job_id)
        with entry.disk:
            with self._changed:
                if entry.job.ended:
                    return entry.job
                entry.saved = replace(entry.saved, cancel=True)
                entry.stop.set()
                if entry.job.state == "queued":
                    self._set(entry, state="cancelled", finished_at=now())
            self._save(entry)
            return entry.job

    def watch(self, job_id: str) -> Watch:
        """Look on from now on; to be entered in the event loop.

        Raises:
            Problem: ``unknown_job``.
        """
        self._entry(job_id)
        return Watch(self, job_id)

    async def events(self, job_id: str) -> AsyncIterator[Job]:
        """The job now, then with every change, at most 4 a second and each change of state, until it has ended.

        Raises:
            Problem: ``unknown_job``.
        """
        with self.watch(job_id) as watch:
            while (job := await watch.news()) is not None:
                yield job
                if job.ended:
                    return

    # -- opening -----------------------------------------------------------------------------------------------

    def _open(self) -> bool:
        """Take over the jobs on disk and start the threads; false while another process has them."""
        with self._opening:
            if self._opened or self._closed.is_set():
                return self._opened
            if not self._store.acquire():
                return False
            found = self._store.load()
            loaded = [_Entry(_after_restart(saved)) for saved in found]
            with self._changed:
                self._entries = {entry.job.id: entry for entry in loaded}
                self._last = max((int(entry.job.id[:14], 16) for entry in loaded), default=0)
            self._opened = True
            for number in range(self._workers):
                thread = threading.Thread(target=self._work, name=f"imagefinder-job-{number}", daemon=True)
                self._threads.append(thread)
                thread.start()
        for before, entry in zip(found, loaded, strict=True):
            if entry.job.ended and not before.job.ended:
                with entry.disk:
                    self._save(entry)
        self._forget_old()
        waiting = sum(not entry.job.ended for entry in loaded)
        if waiting:
            log.info("going on with %d jobs", waiting)
        return True

    def _wait_for_lock(self) -> None:
        while not self._closed.wait(_LOOK_AGAIN):
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

    # -- the queue -----------------------------------------------------------------------------------------------

    def _queue(self, kind: JobKind, collection: str, spec: Mapping[str, Any], data: bytes | None) -> Job:
        self._need_open()
        with self._changed:
            queued = sum(entry.job.state == "queued" for entry in self._entries.values())
            if queued + self._reserved >= self._max_queue:
                raise Problem(
                    "busy",
                    f"{queued + self._reserved} jobs are waiting already",
                    hint="wait until some are done",
                    headers={"Retry-After": "10"},
                )
            if self._closed.is_set():
                raise Problem("not_ready", "the server is stopping", headers={"Retry-After": "5"})
            self._reserved += 1
            self._last = max(self._last + 1, time.time_ns() // 1000)  # in order, whatever the clock does
            job_id = f"{self._last:014x}{secrets.token_hex(5)}"
        entry = _Entry(Saved(Job(job_id, kind, collection, "queued", now()), spec))
        try:
            if data is not None:
                self._store.put_data(job_id, data)
            self._store.save(entry.saved)
            with self._changed:
                self._entries[job_id] = entry
                self._changed.notify_all()
        finally:
            with self._changed:
                self._reserved -= 1
        return entry.job

    def _all(self) -> Sequence[Job]:
        """All jobs, the newest first."""
        if self._store.exists():
            self._need_open()
        with self._changed:
            return [self._entries[job_id].job for job_id in sorted(self._entries, reverse=True)]

    def _entry(self, job_id: str) -> _Entry:
        if self._store.exists():
            self._need_open()
        with self._changed:
            entry = self._entries.get(job_id)
        if entry is None:
            raise Problem(
                "unknown_job",
                f"there is no job {job_id[:200]!a}",
                hint=f"jobs that have ended are kept for {KEEP_DAYS} days",
            )
        return entry

    def _next(self) -> _Entry | None:
        """The oldest job whose collection is free; one that may have killed the server is done alone."""
        running = [entry for entry in self._entries.values() if entry.job.state == "running"]
        if any(entry.saved.tries > 1 for entry in running):
            return None
        taken = {entry.job.collection for entry in running}
        for job_id in sorted(self._entries):
            entry = self._entries[job_id]
            if entry.job.state == "queued" and entry.job.collection not in taken:
                return entry if not running or entry.saved.tries == 0 else None
        return None

    def _forget_old(self) -> None:
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
        for job_id in old:
            self._store.delete(job_id)

    # -- working -------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._changed:
                entry = None
                while not self._closed.is_set() and (entry := self._next()) is None:
                    self._changed.wait()
                if entry is None or self._closed.is_set():
                    return
                tries = entry.saved.tries + 1
                self._set(entry, state="running", tries=tries, started_at=now(), progress=JobProgress())
            try:
                self._run(entry)
                self._forget_old()
            except ImagefinderError:
                # What was not written down is done again after the next start, which changes nothing.
                log.exception("job %s could not be written down", entry.job.id)
            except Exception:
                log.exception("job %s", entry.job.id)

    def _run(self, entry: _Entry) -> None:
        job, done, problem = entry.job, Done({}), None
        state: JobState = "succeeded"
        try:
            with entry.disk:
                self._save(entry)
            done = work.do(job.kind, self._collections(job.collection), self._order(entry))
        except Stopped as stopped:
            state = "cancelled" if entry.saved.cancel else "queued"
            done = stopped.done or done
        except (ImagefinderError, Problem) as error:
            state, problem = "failed", error if isinstance(error, Problem) else problem_of(error)
        except Exception:
            log.exception("job %s (%s of %s) failed", job.id, job.kind, job.collection)
            state, problem = "failed", internal_error()
        if self._left_behind(entry):
            return
        if state == "queued":  # the server stops; it goes on after the next start
            self._change(entry, state=state, tries=0, started_at=None)
            return
        told = None if problem is None else JobProblem(problem.code, problem.detail, problem.hint)
        self._change(
            entry,
            state=state,
            tries=0,
            finished_at=now(),
            progress=entry.progress,
            failures=done.failures,
            result=done.result or None,
            problem=told,
        )

    def _left_behind(self, entry: _Entry) -> bool:
        """Whether ``close`` has given up waiting for it."""
        with self._changed:
            return entry.job.state != "running"

    def _order(self, entry: _Entry) -> Order:
        spec, job = entry.saved.spec, entry.job
        within, folder = None, spec.get("folder")
        if folder:
            allowed(folder, self._roots)  # the operator may have thought better of it
            within = self._roots
        name = hashlib.sha256(job.collection.encode("utf-8")).hexdigest()[:12]
        told = 0.0

        def tell(progress: JobProgress) -> None:
            nonlocal told
            entry.progress = progress
            if progress.added and entry.saved.tries > 1:
                self._change(entry, tries=1)  # it gets further: the next crash is the first one again
            if time.monotonic() - told >= _TELL or progress.stage != entry.job.progress.stage:
                told = time.monotonic()
                with self._changed:
                    self._set(entry, progress=progress)

        return Order(
            spec=spec,
            data=lambda: self._store.data(job.id),
            list_path=self._store.folder / "lists" / name / "list.csv",
            guard=Guard(within=within, local_files=bool(folder), check_address=self._check_address),
            tell=tell,
            stop=entry.stop,
        )

    def _change(self, entry: _Entry, *, tries: int, **changes: Any) -> None:
        """Write down, then note and tell."""
        with entry.disk:
            saved = replace(entry.saved, job=replace(entry.job, **changes), tries=tries)
            try:
                self._store.save(saved)
                if saved.job.ended:
                    self._store.drop_data(saved.job.id)
            finally:
                with self._changed:
                    self._set(entry, tries=tries, **changes)
                    self._changed.notify_all()

    def _set(self, entry: _Entry, *, tries: int | None = None, **changes: Any) -> None:
        """Note; ``_changed`` is held."""
        tries = entry.saved.tries if tries is None else tries
        entry.saved = replace(entry.saved, job=replace(entry.job, **changes), tries=tries)
        _call(entry.watchers)

    def _save(self, entry: _Entry) -> None:
        """Write down; ``disk`` is held."""
        self._store.save(entry.saved)
        if entry.job.ended:
            self._store.drop_data(entry.job.id)


class Watch:
    """Looks on while a job is done; belongs to one event loop."""

    def __init__(self, manager: JobManager, job_id: str) -> None:
        self._manager = manager
        self._job_id = job_id
        self._told: Job | None = None
        self._event = asyncio.Event()

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._event.set)

        self._wake = wake
        self._entry = self._manager._entry(self._job_id)
        with self._manager._changed:
            self._entry.watchers.add(wake)
        return self

    def __exit__(self, *_: object) -> None:
        with self._manager._changed:
            self._entry.watchers.discard(self._wake)

    async def news(self) -> Job | None:
        """The job as soon as it is another than last time; ``None`` when the server stops."""
        while True:
            self._event.clear()
            job = self._entry.job
            if job is not self._told:
                self._told = job
                return job
            if self._manager._quiet:
                return None
            await self._event.wait()


def _call(watchers: set[Callable[[], None]]) -> None:
    for watcher in tuple(watchers):
        watcher()


def _after_restart(saved: Saved) -> Saved:
    """What becomes of a job that the server left behind."""
    job = saved.job
    if job.ended or (job.state == "queued" and not saved.cancel):
        return saved
    if saved.cancel:
        return replace(saved, job=replace(job, state="cancelled", finished_at=now()))
    if saved.tries >= MAX_TRIES:
        problem = JobProblem(
            "job_crashed",
            f"the server ended {saved.tries} times while this job ran, without it getting any further",
            "see the server's log; is there enough memory?",
        )
        return replace(saved, job=replace(job, state="failed", finished_at=now(), problem=problem))
    return replace(saved, job=replace(job, state="queued", started_at=None))


def _check_urls(urls: Sequence[str], *, allowed: bool) -> None:
    """Refuse what is not to be downloaded.

    Raises:
        Problem: ``url_queries_off``.
        InputError: something that is no address of a picture.
    """
    if not allowed:
        raise Problem("url_queries_off", "this server downloads nothing", hint="send the pictures themselves")
    for url in urls:
        if not url.lower().startswith(("http://", "https://")):
            raise InputError(f"{url[:200]!a} is no http(s) address")
    discover(urls)  # names those that are no pictures; nothing is downloaded
