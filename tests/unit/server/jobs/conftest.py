"""A job manager with fake collections."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from imagefinder.collection import Collection
from imagefinder.core.errors import UnknownMethodError
from imagefinder.core.job_records import JobRecord
from imagefinder.core.jobs import Job
from imagefinder.core.records import Failure, StoreInfo
from imagefinder.core.results import DuplicateReport
from imagefinder.core.settings import Settings
from imagefinder.dedup import report as reports
from imagefinder.indexing.progress import AddReport, Progress
from imagefinder.server.errors import Problem
from imagefinder.server.jobs.folders import FolderJobs
from imagefinder.server.jobs.manager import JobManager
from imagefinder.server.jobs.store import JobStore
from imagefinder.server.state import FILE_NAME


@dataclass
class FakeCollection:
    """A fake collection: work ends when ``go`` is set, and records its arguments in ``calls`` and ``options``."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)
    options: list[tuple[bool, ...]] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)
    at_work: threading.Event = field(default_factory=threading.Event)
    failures: int = 0
    error: Exception | None = None
    derived: dict[str, bytes] = field(default_factory=dict)
    progress_calls: int = 1
    guards: list[Any] = field(default_factory=list)

    def keep_duplicates(self, report: Any, *, state: Any, computed_at: str) -> None:
        self.derived[reports.NAME] = reports.to_bytes(report, state=state, computed_at=computed_at)

    def info(self) -> StoreInfo:
        return StoreInfo("here", 1, 7, 0, {}, 0)

    def method(self, name: str) -> None:
        if name != "sift":
            raise UnknownMethodError(name, ["sift"])

    def _work(self, stop: threading.Event | None = None) -> None:
        self.at_work.set()
        while not self.go.wait(0.01) and not (stop and stop.is_set()):
            pass
        if self.error:
            raise self.error

    def add(
        self,
        *sources: str,
        methods: Any,
        prune: bool,
        force_prune: bool,
        verify_content: bool,
        include_removed: bool,
        progress: Any,
        stop: threading.Event,
        guard: Any,
    ) -> Any:
        self.options.append((force_prune, verify_content, include_removed))
        self.calls.append(("add", sources, methods, prune))
        self.guards.append(guard)
        for n in range(self.progress_calls):
            progress(Progress(9, n + 1, 0, 0, 0, 0.1, "x"))
        self._work(stop)
        progress(Progress(9, 9, 0, 0, 0, 0.2, "", stage="calibrate", share=0.5))
        failed = tuple(Failure(f"{n}", f"file:///{n}", "damaged_image", "bad") for n in range(self.failures))
        return AddReport(("sift",), 9, 0, 0, 0, failed, 0.1, stop.is_set())

    def put(self, image_id: str, data: bytes, *, metadata: Any, uri: str) -> None:
        self._work()
        self.calls.append(("put", image_id, data, metadata, uri))

    def duplicates(self, *, progress: Callable[[str, int, int], None]) -> DuplicateReport:
        while not self.go.wait(0.01):
            progress("read", 1, 2)
        return DuplicateReport((), 7, 3, 2, ("sift",), {"total": 0.1})

    def rebuild_index(self, progress: Callable[[str, int, int], None]) -> Any:
        progress("sift", 1, 1)
        self.calls.append(("build-index",))
        return AddReport((), 0, 0, 0, 0, (), 0.1, False)

    def as_collection(self) -> Collection:
        return cast(Collection, self)


class Server:
    """A job manager of two collections, which can be closed, killed and started again."""

    def __init__(self, state: Path, **settings: Any) -> None:
        self.state = state
        self.settings = Settings(state=state, **settings)
        self.a, self.b = FakeCollection(), FakeCollection()
        self.manager = self._new()

    def _new(self) -> JobManager:
        def named(name: str) -> Collection:
            if name not in ("a", "b"):
                raise Problem("unknown_collection", "no such collection")
            return {"a": self.a, "b": self.b}[name].as_collection()

        store = self.store()
        jobs = FolderJobs(store, self.settings.job_queue)
        manager = JobManager(jobs, named, self.settings, list_path=store.list_path)
        manager.open()
        return manager

    def store(self) -> JobStore:
        return JobStore(self.state, Path("/c"))

    def stored(self) -> list[JobRecord]:
        return self.store().load()

    def uploads(self) -> list[bytes]:
        with closing(sqlite3.connect(self.state / FILE_NAME)) as database:
            return [data for (data,) in database.execute("SELECT data FROM uploads ORDER BY job")]

    def kill(self) -> None:
        """Simulate a crash: the stored state no longer changes, whatever the threads do."""
        file, before = self.state / FILE_NAME, self.state / "before.sqlite"
        with closing(sqlite3.connect(file)) as database:
            database.execute("VACUUM INTO ?", (str(before),))
        self.a.go.set(), self.b.go.set()
        self.manager.close(5)
        assert not file.with_name(FILE_NAME + "-wal").exists()
        before.replace(file)

    async def events(self, job: Job) -> AsyncIterator[Job]:
        """The job now and after each change, until the job or the server ends."""
        async with self.manager.watch(job.id) as watch:
            while (change := await watch.next_change()) is not None:
                yield change
                if change.ended:
                    return

    def crash(self, job: Job) -> None:
        """Kill the server while this job of the collection ``a`` runs."""
        assert self.manager.get(job.id).id == job.id
        assert self.a.at_work.wait(30)
        self.kill()

    def begin(self) -> None:
        self.a, self.b = FakeCollection(), FakeCollection()
        self.manager = self._new()

    def wait(self, job: Job, *states: str) -> Job:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if (now := self.manager.get(job.id)).state in (states or ("succeeded", "failed", "cancelled")):
                return now
            time.sleep(0.005)
        raise AssertionError(f"still {now}")

    def close(self) -> None:
        self.a.go.set(), self.b.go.set()
        self.manager.close(5)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "state", job_roots=(tmp_path / "allowed",), job_queue=5)
    yield server
    server.close()
