"""Planning, adding and finishing portions, without a database."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from make_collection import picture

import imagefinder
from imagefinder.collection import Collection
from imagefinder.core.errors import CollectionNotFoundError, ModelMissingError, StoreUnavailableError
from imagefinder.core.job_records import MAX_TRIES, JobRecord, TakenJob, TakenPortion
from imagefinder.core.jobs import Job, JobFailure, JobProblem
from imagefinder.core.service_contracts import PortionedJobs
from imagefinder.core.times import now
from imagefinder.indexing.guard import Guard
from imagefinder.indexing.portion import Portion
from imagefinder.indexing.progress import AddReport
from imagefinder.server.jobs import portioned
from imagefinder.server.jobs.portioned import CRASHED, PortionedWork
from imagefinder.server.jobs.work import JobContext, JobStopped

IMAGES = 70


@dataclass
class FakeJobs:
    """What the work reports."""

    portions: list[tuple[int, bytes]] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)
    failures: list[JobFailure] = field(default_factory=list)
    problems: list[JobProblem] = field(default_factory=list)
    released: int = 0
    died: int = 0

    def plan(
        self,
        taken: TakenJob,
        portions: Iterable[tuple[int, bytes]],
        report: Mapping[str, Any],
        failures: Sequence[JobFailure],
    ) -> None:
        self.portions = list(portions)
        self.counts, self.failures = dict(report), list(failures)

    def complete(
        self,
        taken: TakenPortion,
        counts: Mapping[str, int],
        failures: Sequence[JobFailure],
        problem: JobProblem | None = None,
    ) -> None:
        self.counts |= {name: self.counts.get(name, 0) + count for name, count in counts.items()}
        self.failures += failures
        self.problems += [problem] if problem else []

    def release(self, taken: TakenPortion, *, died: bool = False) -> None:
        self.released += 1
        self.died += died

    def rewrite(self, taken: TakenPortion, portions: Sequence[bytes]) -> None:
        images = self.portions[taken.number][0]
        own = [(images if len(portions) == 1 else 1, data) for data in portions]
        self.portions[taken.number : taken.number + 1] = own

    def report(self, taken: TakenJob) -> dict[str, Any]:
        return self.counts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(IMAGES):
        (folder / f"{number:02}.png").write_bytes(picture(number))
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def collection(tmp_path: Path) -> Any:
    settings = imagefinder.Settings(sift_max_keypoints=40, threads=1, isolate=False)
    with imagefinder.open(tmp_path / "collection", settings=settings) as opened:
        yield opened


class World:
    def __init__(self, folder: Path, **spec: Any) -> None:
        self.jobs = FakeJobs()
        self.work = PortionedWork(cast(PortionedJobs, self.jobs))
        self.spec = {"folder": str(folder), "methods": ["sift"], **spec}
        self.stop = threading.Event()
        self.upload = b""

    def context(self) -> JobContext:
        folder = self.spec.get("folder")
        guard = Guard(within=(folder,) if folder else None, local_files=bool(folder))
        return JobContext(
            self.spec, lambda: self.upload, Path("/unused"), guard, lambda _progress: None, self.stop
        )

    def job(self) -> TakenJob:
        job = Job("1", "add", "shop", "running", now(), started_at=now())
        return TakenJob(JobRecord(job, self.spec), self.stop)

    def portion(self, number: int, starts: int = 1) -> TakenPortion:
        data = self.jobs.portions[number][1]
        return TakenPortion(self.job().record, self.stop, number=number, data=data, starts=starts)

    def run(self, collection: Collection) -> Mapping[str, Any]:
        self.work.plan(self.job(), collection, self.context())
        for number in range(len(self.jobs.portions)):
            self.work.add(self.portion(number), lambda: collection, self.context)
        return self.work.finish(self.job(), collection, self.context()).result


def test_portions_have_the_result_of_one_run(folder: Path, collection: Collection, tmp_path: Path) -> None:
    (folder / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    world = World(folder)
    result = world.run(collection)
    assert [images for images, _ in world.jobs.portions] == [64, 7]
    with imagefinder.open(tmp_path / "other", settings=collection.settings) as other:
        report = other.add(folder, methods=["sift"])
        assert list(other.images(limit=100)) != []
        for name in ("added", "replaced", "unchanged", "removed", "skipped", "failed", "failed_before", "moved"):
            assert result[name] == getattr(report, name), name
        mine, theirs = ({one.id: one.sha256 for one in two.images(limit=100)} for two in (collection, other))
        assert mine == theirs
        assert [one.code for one in collection.failures()] == [one.code for one in other.failures()]
    assert [failure.id for failure in world.jobs.failures] == ["damaged.png"]
    assert result["methods"] == ["sift"]


def test_adding_a_portion_again_changes_nothing(folder: Path, collection: Collection) -> None:
    world = World(folder)
    world.run(collection)
    before = {one.id: one.added_at for one in collection.images(limit=100)}
    world.jobs.counts.clear()
    world.work.plan(world.job(), collection, world.context())
    world.work.add(world.portion(0), lambda: collection, world.context)
    assert {one.id: one.added_at for one in collection.images(limit=100)} == before
    assert (world.jobs.counts["unchanged"], world.jobs.counts["added"]) == (64, 0)


def test_what_a_killed_worker_had_stored_counts_as_added(
    folder: Path, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images that were there before the job do not."""
    (folder / "old").mkdir()
    for name in ("06.png", "07.png", "08.png"):
        (folder / name).rename(folder / "old" / name)
    collection.add(folder / "old", methods=["sift"])
    for name in ("06.png", "07.png", "08.png"):
        (folder / "old" / name).rename(folder / name)
    collection.add(folder / "06.png", folder / "07.png", folder / "08.png", methods=["sift"])
    (folder / "08.png").write_bytes(picture(800))
    world = World(folder)
    world.work.plan(world.job(), collection, world.context())
    add = portioned.PortionedAdd.add

    def killed(self: Any, opened: Collection, portion: Portion, *arguments: Any, **options: Any) -> AddReport:
        add(self, opened, replace(portion, items=portion.items[:20]), *arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(portioned.PortionedAdd, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        world.work.add(world.portion(0), lambda: collection, world.context)
    monkeypatch.undo()
    world.work.add(world.portion(0, starts=2), lambda: collection, world.context)
    counts = {name: world.jobs.counts[name] for name in ("added", "replaced", "unchanged", "moved", "failed")}
    assert counts == {"added": 61, "replaced": 1, "unchanged": 2, "moved": 0, "failed": 0}


def test_pruning_and_resolved_failures(folder: Path, collection: Collection) -> None:
    (folder / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "gone.png").write_bytes(b"x")
    World(folder).run(collection)
    assert {one.id for one in collection.failures()} == {"damaged.png", "gone.png"}
    (folder / "00.png").unlink(), (folder / "gone.png").unlink()
    again = World(folder)
    assert again.run(collection)["removed"] == 0
    assert {one.id for one in collection.failures()} == {"damaged.png"}
    assert again.jobs.counts["failed_before"] == 1
    (folder / "damaged.png").write_bytes(picture(99))
    result = World(folder, prune=True).run(collection)
    assert (result["removed"], result["added"], result["failed"]) == (1, 1, 0)
    assert collection.failures() == []


def test_a_list_is_the_same_source_on_every_machine(folder: Path, collection: Collection) -> None:
    world = World(folder, prune=True)
    del world.spec["folder"]
    world.upload = b"url,id\nhttp://127.0.0.1:9/a.png,a\nfile:///etc/passwd,b\n"
    world.work.plan(world.job(), collection, world.context())
    assert [images for images, _ in world.jobs.portions] == [1]
    assert [(failure.id, failure.code) for failure in world.jobs.failures] == [("b", "invalid_source")]
    world.work.add(world.portion(0), lambda: collection, world.context)
    (failure,) = [one for one in collection.failures() if one.id == "a"]
    assert failure.source == "list:shop"


def test_stopping_gives_the_portion_back(folder: Path, collection: Collection) -> None:
    world = World(folder)
    world.work.plan(world.job(), collection, world.context())
    world.stop.set()
    world.work.add(world.portion(0), lambda: collection, world.context)
    assert (world.jobs.released, world.jobs.counts["added"]) == (1, 0)
    with pytest.raises(JobStopped):
        world.work.plan(world.job(), collection, world.context())
    with pytest.raises(JobStopped):
        world.work.finish(world.job(), collection, world.context())


def test_an_image_that_ends_its_workers_affects_no_other(folder: Path, collection: Collection) -> None:
    world = World(folder)
    world.work.plan(world.job(), collection, world.context())
    world.work.add(world.portion(1, starts=MAX_TRIES), lambda: collection, world.context)
    world.work.add(world.portion(0, starts=MAX_TRIES + 1), lambda: collection, world.context)
    assert (world.jobs.counts["failed"], world.jobs.counts["added"]) == (0, 6)
    assert [images for images, _ in world.jobs.portions] == [1] * 64 + [6]
    for number in range(64):
        starts = MAX_TRIES + 1 if number == 5 else 1
        world.work.add(world.portion(number, starts=starts), lambda: collection, world.context)
    assert (world.jobs.counts["failed"], world.jobs.counts["added"]) == (1, 69)
    assert [(one.id, one.code) for one in collection.failures()] == [("05.png", CRASHED)]
    assert [failure.id for failure in world.jobs.failures] == ["05.png"]


def test_a_portion_whose_process_died_elsewhere_is_tried_again(folder: Path, collection: Collection) -> None:
    world = World(folder)
    world.work.plan(world.job(), collection, world.context())
    world.work._added = lambda *_: None  # type: ignore[method-assign]
    world.work.add(world.portion(0), lambda: collection, world.context)
    assert (world.jobs.released, world.jobs.died, world.jobs.counts["added"]) == (1, 1, 0)


@pytest.mark.parametrize("retryable", [True, False])
def test_errors_of_a_portion(
    folder: Path, collection: Collection, retryable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that does not answer is tried again; what cannot succeed ends the job."""
    monkeypatch.setattr(portioned, "_PAUSE_SECONDS", 0.0)
    world = World(folder)
    world.work.plan(world.job(), collection, world.context())
    error = StoreUnavailableError("no answer") if retryable else ModelMissingError("sift")

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(portioned.PortionedAdd, "add", fail)
    if retryable:
        with pytest.raises(StoreUnavailableError):
            world.work.add(world.portion(0), lambda: collection, world.context)
    else:
        world.work.add(world.portion(0), lambda: collection, world.context)
    assert world.jobs.released == retryable
    assert [problem.code for problem in world.jobs.problems] == ([] if retryable else ["model_missing"])


def test_a_deleted_collection_ends_the_job(folder: Path, collection: Collection) -> None:
    world = World(folder)
    world.work.plan(world.job(), collection, world.context())

    def gone() -> Collection:
        raise CollectionNotFoundError("there is no collection shop")

    world.work.add(world.portion(0), gone, world.context)
    assert [problem.code for problem in world.jobs.problems] == ["store_error"]
    assert world.jobs.released == 0


def test_a_damaged_portion_ends_the_job(folder: Path, collection: Collection) -> None:
    world = World(folder)
    world.jobs.portions = [(1, b"damaged")]
    world.work.add(world.portion(0), lambda: collection, world.context)
    assert [problem.code for problem in world.jobs.problems] == ["internal_error"]


def test_archives_are_not_divided(folder: Path) -> None:
    world = World(folder)
    assert world.work.is_divisible(world.job())
    world.spec["folder"] = f"{folder}/images.TAR.gz"
    assert not world.work.is_divisible(world.job())
