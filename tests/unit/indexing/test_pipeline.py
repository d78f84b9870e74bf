"""Indexing from real folders, archives and servers into a store in memory, with cheap methods."""

import gc
import hashlib
import io
import os
import shutil
import tarfile
import threading
import time
import weakref
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from imagefinder.core.errors import DamagedImageError, FingerprintMismatchError, ModelError, ModelMissingError
from imagefinder.core.features import Features, FeatureSpec, GlobalFeatures, LocalFeatures, RgbImage
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.method import Method
from imagefinder.core.records import Entry, Failure
from imagefinder.core.settings import Settings
from imagefinder.images.decode import Decoded, decode
from imagefinder.indexing import byte_budget, pipeline, pruning, reader
from imagefinder.indexing import progress as progress_module
from imagefinder.indexing.discover import Source, discover, source_uris
from imagefinder.indexing.progress import AddReport, Progress
from imagefinder.indexing.source_item import SourceItem
from imagefinder.matching.cosine import CosineMatcher
from imagefinder.stores.memory import MemoryStore

# -- parts --------------------------------------------------------------------------------------------------


@dataclass
class Mean:
    """The mean colour; ``before`` may raise what a method could raise."""

    version: int = 1
    before: Callable[[Sequence[RgbImage]], None] = lambda _: None
    batches: list[int] = field(default_factory=list)
    spec = FeatureSpec("global", 3, "float32")
    name = "mean"

    def fingerprint(self) -> Fingerprint:
        return Fingerprint(self.name, self.version)

    def extract(self, images: Sequence[RgbImage]) -> Features:
        self.batches.append(len(images))
        self.before(images)
        vectors = np.array([image.mean(axis=(0, 1)) for image in images], dtype=np.float32)
        return GlobalFeatures(vectors.reshape(-1, 3))


class Rows(Mean):
    """The first pixels of each row, as local features."""

    spec = FeatureSpec("local", 3, "uint8")
    name = "rows"

    def extract(self, images: Sequence[RgbImage]) -> Features:
        self.batches.append(len(images))
        self.before(images)
        rows = [image[:, 0] for image in images]
        counts = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        return LocalFeatures(
            np.concatenate(rows) if rows else np.empty((0, 3), np.uint8),
            np.zeros((int(counts[-1]), 4), np.float32),
            counts,
        )


class Missing(Mean):
    name = "missing"

    def fingerprint(self) -> Fingerprint:
        raise ModelMissingError("missing")


def method(extractor: Mean) -> Method:
    return Method(extractor.name, "", "cosine", extractor, CosineMatcher())


def png(colour: int, size: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), (colour % 256, colour // 256, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def pics(tmp_path: Path) -> Path:
    folder = tmp_path / "pics"
    for n in range(10):
        write(folder / f"{n}.png", png(n))
    return folder


@dataclass
class World:
    """A store and a way to index into it."""

    store: MemoryStore = field(default_factory=MemoryStore)
    mean: Mean = field(default_factory=Mean)
    rows: Rows = field(default_factory=Rows)
    settings: Settings = field(
        default_factory=lambda: Settings(
            threads=2, batch_size=4, fetch_retries=0, fetch_timeout=2, max_image_bytes=10**6
        )
    )
    decoded: list[str] = field(default_factory=list)

    def decode(self, data: bytes, *, max_bytes: int, max_pixels: int) -> Decoded:
        self.decoded.append(hashlib.sha256(data).hexdigest())
        return decode(data, max_bytes=max_bytes, max_pixels=max_pixels)

    def add(
        self, *sources: Source, extractors: Sequence[Mean] | None = None, prune: bool = False, **more: Any
    ) -> AddReport:
        self.decoded.clear()
        self.mean.batches.clear()
        self.rows.batches.clear()
        adding = pipeline.Pipeline(
            self.store,
            [method(extractor) for extractor in extractors or (self.mean, self.rows)],
            more.pop("settings", self.settings),
            more.pop("decode", self.decode),
        )
        items = more.pop("items", None) or discover(sources)
        return adding.run(items, prune_sources=source_uris(sources) if prune else (), **more)

    def ids(self) -> list[str]:
        return [record.id for record in self.store.images(limit=10_000)]

    def colours(self) -> dict[str, int]:
        """Per image the number its picture was made from, read back from the features."""
        colours = {}
        for image_id in self.ids():
            features = self.store.features(image_id, "mean")
            assert isinstance(features, GlobalFeatures)
            red, green, _ = features.vectors[0]
            colours[image_id] = round(float(red)) + 256 * round(float(green))
        return colours


@pytest.fixture
def world() -> World:
    return World()


def outcome(report: AddReport) -> tuple[int, int, int, int, int]:
    return report.added, report.replaced, report.unchanged, len(report.failures), report.removed


# -- the ordinary way ---------------------------------------------------------------------------------------


def test_a_folder(world: World, pics: Path) -> None:
    write(pics / "notes.txt", b"")
    report = world.add(pics)
    assert outcome(report) == (10, 0, 0, 0, 0)
    assert (report.methods, report.interrupted, report.skipped) == (("mean", "rows"), False, 1)
    record = world.store.get("3.png")
    data = (pics / "3.png").read_bytes()
    assert record.uri == (pics / "3.png").as_uri()
    assert record.source == pics.as_uri()
    assert record.sha256 == hashlib.sha256(data).hexdigest()
    assert (record.size_bytes, record.width, record.height, record.format) == (len(data), 8, 8, "PNG")
    assert world.colours() == {f"{n}.png": n for n in range(10)}
    assert len(world.store.features("3.png", "rows")) == 1
    assert Image.open(io.BytesIO(world.store.thumbnail("3.png"))).size == (8, 8)
    assert world.mean.batches == world.rows.batches == [4, 4, 2]


def test_the_same_again_reads_nothing(world: World, pics: Path) -> None:
    world.add(pics)
    before = world.store.images()

    def refuse(_: int) -> bytes:
        raise AssertionError("this file must not be read")

    unread = (replace(item, read=refuse) if isinstance(item, SourceItem) else item for item in discover([pics]))
    report = world.add(items=unread)
    assert outcome(report) == (0, 0, 10, 0, 0)
    assert world.store.images() == before
    assert (world.decoded, world.mean.batches) == ([], [])


def test_a_new_time_of_the_same_bytes_is_only_noted(world: World, pics: Path) -> None:
    world.add(pics)
    os.utime(pics / "3.png", (1, 1))
    assert outcome(world.add(pics)) == (0, 0, 10, 0, 0)
    assert world.decoded == []
    assert world.store.get("3.png").stamp.endswith(":1000000000")


def test_a_changed_file_replaces_the_image(world: World, pics: Path) -> None:
    world.add(pics)
    write(pics / "3.png", png(300))
    assert outcome(world.add(pics)) == (0, 1, 9, 0, 0)
    assert world.colours() == {f"{n}.png": n for n in range(10)} | {"3.png": 300}
    assert len(world.decoded) == 1


def test_metadata_stay_unless_the_source_brings_some(world: World, tmp_path: Path) -> None:
    write(tmp_path / "a.png", png(1))
    write(tmp_path / "b.png", png(2))
    listed = write(tmp_path / "l.csv", b"url,id,title\na.png,a.png,old\nb.png,b.png,old\n")
    world.add(listed)
    write(tmp_path / "a.png", png(3))
    write(tmp_path / "b.png", png(4))
    world.add(tmp_path / "a.png")
    write(listed, b"url,id,title\na.png,a.png,old\nb.png,b.png,new\n")
    world.add(listed)
    assert world.store.get("a.png").metadata == {"title": "old"}
    assert world.store.get("b.png").metadata == {"title": "new"}
    assert world.colours() == {"a.png": 3, "b.png": 4}


def test_a_further_method_leaves_the_others_alone(world: World, pics: Path) -> None:
    world.add(pics, extractors=[world.mean])
    kept = world.store.features("3.png", "mean")
    thumbnail, record = world.store.thumbnail("3.png"), world.store.get("3.png")
    write(pics / "4.png", png(400))
    os.utime(pics / "5.png", (1, 1))
    assert outcome(world.add(pics)) == (0, 10, 0, 0, 0)
    assert (sum(world.mean.batches), sum(world.rows.batches)) == (1, 10)
    assert world.store.features("3.png", "mean") is kept
    assert world.store.thumbnail("3.png") == thumbnail
    assert world.store.get("3.png") == record
    assert world.store.get("5.png").stamp.endswith(":1000000000")
    assert world.colours()["4.png"] == 400
    assert outcome(world.add(pics)) == (0, 0, 10, 0, 0)


def test_what_is_stored_does_not_depend_on_threads_or_batches(pics: Path) -> None:
    for n in range(40):
        write(pics / f"more/{n}.png", png(n, size=1 + n % 13) if n % 7 else b"broken")
    seen = []
    for threads, batch_size in [(1, 1), (1, 7), (4, 3), (9, 16)]:
        world = World(settings=Settings(threads=threads, batch_size=batch_size))
        puts: list[str] = []
        put = world.store.put
        world.store.put = lambda entries, put=put, puts=puts: (  # type: ignore[method-assign]
            puts.extend(e.image.id for e in entries),
            put(entries),
        )[1]
        report = world.add(pics)
        images = [
            (r.id, r.sha256, r.width, r.stamp, world.store.thumbnail(r.id)) for r in world.store.images(limit=99)
        ]
        seen.append((images, world.colours(), puts, [(f.id, f.code) for f in report.failures]))
    assert len(seen[0][0]) == 44
    assert len(seen[0][3]) == 6
    assert all(other == seen[0] for other in seen)


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz"])
def test_archives(world: World, pics: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"pics.{ending}"

    def pack() -> None:
        if ending == "zip":
            with zipfile.ZipFile(path, "w") as archive:
                for file in sorted(pics.iterdir()):
                    archive.write(file, file.name)
        else:
            with tarfile.open(path, f"w:{ending[4:]}") as tar:  # type: ignore[call-overload]
                tar.add(pics, arcname=".")

    pack()
    world.settings = Settings(threads=4, batch_size=4)
    assert outcome(world.add(path)) == (10, 0, 0, 0, 0)
    assert world.colours() == {f"{n}.png": n for n in range(10)}
    assert outcome(world.add(path)) == (0, 0, 10, 0, 0)
    assert world.decoded == []
    write(pics / "3.png", png(300, size=9))
    (pics / "4.png").unlink()
    pack()
    assert outcome(world.add(path, prune=True)) == (0, 1, 8, 0, 1)
    assert "4.png" not in world.colours()
    assert world.colours()["3.png"] == 300


# -- failures -----------------------------------------------------------------------------------------------


def test_a_bad_picture_is_recorded_retried_and_forgotten(world: World, pics: Path) -> None:
    write(pics / "3.png", b"not a picture at all")
    write(pics / "4.png", png(4)[:50])
    write(pics / "5.png", b"")
    report = world.add(pics)
    assert outcome(report) == (7, 0, 0, 3, 0)
    expected = [("3.png", "not_an_image"), ("4.png", "damaged_image"), ("5.png", "empty_image")]
    assert [(f.id, f.code) for f in report.failures] == expected
    noted = world.store.failures()
    assert [(f.id, f.code, f.attempts, f.source, f.uri) for f in noted] == [
        (i, code, 1, pics.as_uri(), (pics / i).as_uri()) for i, code in expected
    ]
    assert outcome(world.add(pics)) == (0, 0, 7, 3, 0)
    assert [f.attempts for f in world.store.failures()] == [2, 2, 2]
    write(pics / "3.png", png(3))  # mended
    (pics / "4.png").unlink()  # gone
    assert outcome(world.add(pics)) == (1, 0, 7, 1, 0)
    assert [f.id for f in world.store.failures()] == ["5.png"]


def test_an_image_whose_file_breaks_stays_until_it_is_mended(world: World, pics: Path) -> None:
    world.add(pics)
    write(pics / "3.png", b"broken")
    assert outcome(world.add(pics, prune=True)) == (0, 0, 9, 1, 0)
    assert world.colours()["3.png"] == 3
    write(pics / "3.png", png(3))
    assert outcome(world.add(pics)) == (0, 0, 10, 0, 0)
    assert world.store.failures() == []


def test_a_file_that_vanishes_before_it_is_read(world: World, pics: Path) -> None:
    items = list(discover([pics]))
    (pics / "3.png").unlink()
    report = world.add(items=iter(items))
    assert outcome(report) == (9, 0, 0, 1, 0)
    assert report.failures[0].code == "invalid_source"


def test_a_decoder_that_breaks_down_costs_one_picture(world: World, pics: Path) -> None:
    def fragile(data: bytes, *, max_bytes: int, max_pixels: int) -> Decoded:
        if data == png(3):
            raise ZeroDivisionError("in the depths")
        if data == png(4):
            raise TimeoutError
        return decode(data, max_bytes=max_bytes, max_pixels=max_pixels)

    report = world.add(pics, decode=fragile)
    assert outcome(report) == (8, 0, 0, 2, 0)
    assert [(f.code, f.message) for f in report.failures] == [
        ("error", "ZeroDivisionError: in the depths"),
        ("error", "TimeoutError: "),
    ]


def test_a_method_that_fails_on_one_picture_costs_that_one(world: World, pics: Path) -> None:
    def fail_on_five(images: Sequence[RgbImage]) -> None:
        if any(image[0, 0, 0] == 5 for image in images):
            raise RuntimeError("five!")

    world.rows.before = fail_on_five
    report = world.add(pics)
    assert outcome(report) == (9, 0, 0, 1, 0)
    assert [(f.id, f.message) for f in report.failures] == [("5.png", "RuntimeError: five!")]
    assert world.mean.batches == [4, 4, 2]
    assert world.rows.batches == [4, 4, 1, 1, 1, 1, 2]
    world.rows.before = lambda _: None
    assert outcome(world.add(pics)) == (1, 0, 9, 0, 0)

    def damaged(images: Sequence[RgbImage]) -> None:
        raise DamagedImageError("too odd for me")

    world.rows.before = damaged
    write(pics / "5.png", png(55))
    report = world.add(pics)
    assert [(f.id, f.code) for f in report.failures] == [("5.png", "damaged_image")]
    assert world.colours()["5.png"] == 5


def test_a_method_that_loses_pictures_is_not_believed(world: World, pics: Path) -> None:
    world.mean.extract = lambda _: GlobalFeatures(np.zeros((1, 3), np.float32))  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="mean gave features of 1 pictures for 4"):
        world.add(pics)
    assert world.ids() == []


def test_nothing_is_read_when_a_method_cannot_run(world: World, pics: Path) -> None:
    def untouched() -> Iterator[Any]:
        raise AssertionError("nothing may be read")
        yield

    with pytest.raises(ModelMissingError):
        world.add(items=untouched(), extractors=[world.mean, Missing()])
    assert world.store.info().methods == {}
    with pytest.raises(ValueError, match="no methods"):
        pipeline.Pipeline(world.store, [], world.settings, decode).run(untouched())
    world.add(pics)
    with pytest.raises(FingerprintMismatchError):
        world.add(items=untouched(), extractors=[Mean(version=2)])


def test_a_model_that_is_lost_on_the_way_ends_the_run(world: World, pics: Path) -> None:
    def lose(_: object) -> None:
        if len(world.rows.batches) > 1:
            raise ModelError("the weights are gone")

    world.rows.before = lose
    with pytest.raises(ModelError):
        world.add(pics)
    assert len(world.ids()) == 4
    assert threading.active_count() < 10


def test_a_source_that_breaks_down_ends_the_run_but_keeps_what_came_before(world: World, pics: Path) -> None:
    def broken() -> Iterator[Any]:
        yield from discover([pics])
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        world.add(items=broken())
    assert len(world.ids()) == 10


# -- one id, two pictures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [True, False])
def test_an_id_of_another_source_is_not_overwritten(world: World, tmp_path: Path, at_once: bool) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    write(a / "x.png", png(1))
    write(b / "x.png", png(2))
    write(b / "y.png", png(3))
    if at_once:
        report = world.add(a, b)
        assert outcome(report) == (2, 0, 0, 1, 0)
    else:
        world.add(a)
        report = world.add(b)
        assert outcome(report) == (1, 0, 0, 1, 0)
    assert world.colours() == {"x.png": 1, "y.png": 3}
    (failure,) = report.failures
    assert (failure.id, failure.code, failure.source) == ("x.png", "id_taken", b.as_uri())
    assert (a / "x.png").as_uri() in failure.message
    assert a.as_uri() in failure.message
    assert [f.id for f in world.store.failures()] == ["x.png"]
    assert outcome(world.add(a, b)) == (0, 0, 2, 1, 0)
    assert outcome(world.add(tmp_path)) == (3, 0, 0, 0, 0)  # from above, the ids differ


def test_two_files_of_one_name_named_by_themselves(world: World, tmp_path: Path) -> None:
    report = world.add(write(tmp_path / "a/x.png", png(1)), write(tmp_path / "b/x.png", png(2)))
    assert [f.code for f in report.failures] == ["id_taken"]
    assert world.colours() == {"x.png": 1}
    write(tmp_path / "a/x.png", png(3))
    assert outcome(world.add(tmp_path / "a/x.png")) == (0, 1, 0, 0, 0)


def test_an_image_put_by_hand_is_not_overwritten(world: World, pics: Path) -> None:
    world.add(pics)
    record = world.store.get("3.png")
    world.store.put([Entry(replace(record, uri="", source="", sha256="0" * 64), {})])
    report = world.add(pics)
    assert [(f.id, f.code) for f in report.failures] == [("3.png", "id_taken")]
    assert "put by hand" in report.failures[0].message
    world.store.put([Entry(replace(record, uri="", source=""), {})])
    assert outcome(world.add(pics)) == (0, 1, 9, 0, 0)  # the same bytes: now it is known where they lie
    assert world.store.get("3.png").uri == record.uri


def test_the_same_picture_under_the_same_id_elsewhere_is_the_same(world: World, tmp_path: Path) -> None:
    write(tmp_path / "a/x.png", png(1))
    write(tmp_path / "b/x.png", png(1))
    assert outcome(world.add(tmp_path / "a", tmp_path / "b")) == (1, 0, 1, 0, 0)
    assert world.store.get("x.png").source == (tmp_path / "a").as_uri()
    assert len(world.decoded) == 1


def test_a_folder_that_has_moved_keeps_its_features(world: World, pics: Path, tmp_path: Path) -> None:
    world.add(pics)
    moved = tmp_path / "moved"
    shutil.move(pics, moved)
    write(moved / "3.png", png(300))
    report = world.add(moved)
    assert outcome(report) == (0, 0, 9, 1, 0)  # another picture, and the old folder may only be unmounted
    assert (world.decoded, world.mean.batches) == ([], [])
    record = world.store.get("4.png")
    assert (record.uri, record.source) == ((moved / "4.png").as_uri(), moved.as_uri())
    assert world.colours() == {f"{n}.png": n for n in range(10)}
    assert len(world.store.features("4.png", "rows")) == 1
    assert world.store.thumbnail("4.png")
    assert outcome(world.add(moved)) == (0, 0, 9, 1, 0)


def test_a_moved_folder_and_a_further_method(world: World, pics: Path, tmp_path: Path) -> None:
    world.add(pics, extractors=[world.mean])
    shutil.move(pics, tmp_path / "moved")
    assert outcome(world.add(tmp_path / "moved")) == (0, 10, 0, 0, 0)
    assert world.mean.batches == []
    assert outcome(world.add(tmp_path / "moved", prune=True)) == (0, 0, 10, 0, 0)


# -- pruning ------------------------------------------------------------------------------------------------


def test_prune_removes_what_the_source_no_longer_has(world: World, pics: Path, tmp_path: Path) -> None:
    write(tmp_path / "other/o.png", png(99))
    single = write(tmp_path / "single.png", png(98))
    world.add(pics, tmp_path / "other", single)
    (pics / "3.png").unlink()
    (pics / "4.png").rename(pics / "44.png")
    (tmp_path / "other/o.png").unlink()
    single.unlink()
    assert outcome(world.add(pics)) == (1, 0, 8, 0, 0)
    report = world.add(pics, prune=True)
    assert outcome(report) == (0, 0, 9, 0, 2)
    assert report.notes == ()
    assert set(world.ids()) == {*(f"{n}.png" for n in (0, 1, 2, 5, 6, 7, 8, 9, 44)), "o.png", "single.png"}


def test_prune_works_through_many_pages(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "_PAGE_IMAGES", 5)
    for n in range(33):
        write(tmp_path / "p" / f"{n}.png", png(n))
    world.add(tmp_path / "p")
    kept = {"0.png", "17.png", "9.png"}
    for file in (tmp_path / "p").iterdir():
        if file.name not in kept:
            file.unlink()
    assert world.add(tmp_path / "p", prune=True).removed == 30
    assert set(world.ids()) == kept


def test_prune_spares_a_source_that_was_not_read_completely(
    world: World, pics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(pics / "locked/x.png", png(50))
    world.add(pics)
    (pics / "3.png").unlink()
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report = world.add(pics, prune=True)
    assert outcome(report) == (0, 0, 9, 1, 0)
    assert report.notes == (f"nothing of {pics.as_uri()} was removed: not all of it could be read",)
    assert len(world.ids()) == 11
    monkeypatch.undo()
    assert outcome(world.add(pics, prune=True)) == (0, 0, 10, 0, 1)
    assert world.store.failures() == []


def test_prune_spares_a_source_that_holds_nothing_any_more(world: World, pics: Path) -> None:
    world.add(pics)
    shutil.rmtree(pics)
    pics.mkdir()
    report = world.add(pics, prune=True)
    assert outcome(report) == (0, 0, 0, 0, 0)
    assert "as if a disk were not mounted" in report.notes[0]
    assert len(world.ids()) == 10


def test_prune_frees_an_id_for_another_source(world: World, tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    write(a / "x.png", png(1))
    write(a / "z.png", png(2))
    world.add(a)
    (a / "x.png").unlink()
    write(b / "x.png", png(3))
    assert outcome(world.add(a, b, prune=True)) == (0, 0, 1, 1, 1)
    assert outcome(world.add(a, b, prune=True)) == (1, 0, 1, 0, 0)
    assert world.colours() == {"x.png": 3, "z.png": 2}


# -- stopping -----------------------------------------------------------------------------------------------


def test_stop_finishes_the_batch_at_hand_and_the_next_run_continues(world: World, pics: Path) -> None:
    stop = threading.Event()
    world.rows.before = lambda _: stop.set()
    (pics / "0.png").unlink()
    report = world.add(pics, stop=stop, prune=True)
    assert report.interrupted
    assert report.added == len(world.ids()) == 4
    assert report.notes == ("nothing was removed: the run was interrupted",)
    assert outcome(world.add(pics)) == (5, 0, 4, 0, 0)
    assert world.colours() == {f"{n}.png": n for n in range(1, 10)}
    assert outcome(world.add(pics, stop=stop)) == (0, 0, 0, 0, 0)  # set from the start


def test_ctrl_c_loses_nothing_that_was_at_hand(world: World, pics: Path) -> None:
    def press(_: object) -> None:
        if len(world.rows.batches) == 2:
            raise KeyboardInterrupt

    world.rows.before = press
    report = world.add(pics)
    assert report.interrupted
    assert report.added == len(world.ids()) == 8
    assert world.rows.batches == [4, 4, 4]  # the second batch once more
    assert outcome(world.add(pics)) == (2, 0, 8, 0, 0)


def test_a_million_unchanged_can_be_stopped(world: World, pics: Path) -> None:
    world.add(pics)
    stop = threading.Event()

    def endless() -> Iterator[Any]:
        while True:
            yield from discover([pics])

    threading.Timer(0.3, stop.set).start()
    report = world.add(items=endless(), stop=stop)
    assert report.interrupted
    assert report.unchanged > 100


# -- bounds -------------------------------------------------------------------------------------------------


def test_pixels_in_flight_are_bounded(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = 100 * 100 * 3
    monkeypatch.setattr(reader, "_BUDGET", 6 * one)
    monkeypatch.setattr(reader, "_BUDGET_PER_THREAD", 0)
    for n in range(60):
        write(tmp_path / "p" / f"{n:02}.png", png(n))
    alive: list[int] = []
    most = 0
    lock = threading.Lock()

    def large(data: bytes, *, max_bytes: int, max_pixels: int) -> Decoded:
        nonlocal most
        rgb = np.full(
            (100, 100, 3), decode(data, max_bytes=max_bytes, max_pixels=max_pixels).rgb[0, 0, 0], np.uint8
        )
        with lock:
            alive.append(1)
            most = max(most, len(alive))
        weakref.finalize(rgb, alive.pop)
        return Decoded(rgb, "PNG")

    world.settings = Settings(threads=3, batch_size=50)
    world.rows.before = lambda _: time.sleep(0.02)
    gc.disable()
    report = world.add(tmp_path / "p", decode=large)
    gc.enable()
    assert report.added == 60
    assert max(world.rows.batches) == 3  # half the budget, although a batch may hold 50
    assert most <= 6 + 3 + 3  # the budget, those next in line that passed, one in each thread's hands
    assert len(alive) == 0


def test_a_picture_larger_than_the_budget_gets_through(
    world: World, pics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_BUDGET", 1)
    monkeypatch.setattr(reader, "_BUDGET_PER_THREAD", 0)
    assert outcome(world.add(pics)) == (10, 0, 0, 0, 0)
    assert set(world.mean.batches) == {1}


def test_discovery_runs_ahead_only_so_far(world: World, pics: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_PREFETCH_ITEMS", 20)
    monkeypatch.setattr(progress_module, "_REPORT_INTERVAL", 0.0)
    monkeypatch.setattr(pipeline, "_LOOKUP_ITEMS", 5)
    monkeypatch.setattr(reader, "_READ_AHEAD", 5)
    given = []

    def many() -> Iterator[Any]:
        for n in range(500):
            given.append(n)
            yield Failure(f"{n}", "", "x", "")
        yield from discover([pics])

    def check(progress: Progress) -> None:
        time.sleep(0.001)
        reported.append(progress.done)
        assert len(given) <= progress.done + 20 + 1

    reported: list[int] = []
    report = world.add(items=many(), progress=check)
    assert len(reported) > 50
    assert outcome(report) == (10, 0, 0, 500, 0)


# -- progress -----------------------------------------------------------------------------------------------


def test_progress_is_reported_now_and_then_and_at_the_end(
    world: World, pics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(pics / "3.png", b"broken")
    world.add(pics / "4.png")
    reported: list[Progress] = []
    world.settings = Settings(batch_size=2, threads=1)
    world.rows.before = lambda _: time.sleep(0.08)
    report = world.add(pics, progress=reported.append)
    assert 2 <= len(reported) <= 1 + report.seconds / 0.1
    assert [p.done for p in reported] == sorted(p.done for p in reported)
    assert {p.total for p in reported} <= {None, 10}
    last = reported[-1]
    assert (last.added, last.replaced, last.unchanged, last.failed) == (8, 0, 1, 1)
    assert last.done == last.total
    assert last.current == "9.png"


def test_an_empty_source(world: World, tmp_path: Path) -> None:
    reported: list[Progress] = []
    assert outcome(world.add(tmp_path, progress=reported.append)) == (0, 0, 0, 0, 0)
    assert [(p.total, p.done) for p in reported] == [(0, 0)]


# -- downloads ----------------------------------------------------------------------------------------------


@dataclass
class Web:
    port: int = 0
    answers: dict[str, bytes | int] = field(default_factory=dict)
    delays: dict[str, float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    def list(self, path: Path, names: Sequence[str]) -> Path:
        rows = [f"http://127.0.0.1:{self.port}/{name},{n}" for n, name in enumerate(names)]
        return write(path, "\n".join(["url,id", *rows, ""]).encode())


@contextmanager
def serve() -> Iterator[Web]:
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path[1:]
            with web.lock:
                web.asked.append(name)
                web.at_once += 1
                web.most_at_once = max(web.most_at_once, web.at_once)
            web.closing.wait(web.delays.get(name, 0))
            with web.lock:
                web.at_once -= 1
            answer = web.answers.get(name, 404)
            body = b"" if isinstance(answer, int) else answer
            self.send_response(answer if isinstance(answer, int) else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Listener(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *_: object) -> None:
            pass

    http = Listener(("127.0.0.1", 0), Handler)
    web.port = http.server_port
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield web
    finally:
        web.closing.set()
        http.shutdown()
        thread.join()
        http.server_close()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serve() as web:
        yield web


def test_the_original_list_of_urls(world: World, web: Web, tmp_path: Path) -> None:
    names = [f"{n}.png" for n in range(30)]
    web.answers = {name: png(n) for n, name in enumerate(names)} | {
        "3.png": 404,
        "4.png": b"<html>",
        "5.png": 503,
        "6.png": bytes(2 * 10**6),
    }
    path = web.list(tmp_path / "dataset.csv", names)
    report = world.add(path)
    assert outcome(report) == (26, 0, 0, 4, 0)
    assert [(f.id, f.code) for f in report.failures] == [
        ("3", "fetch_failed"),
        ("4", "not_an_image"),
        ("5", "fetch_failed_for_now"),
        ("6", "image_too_large"),
    ]
    record = world.store.get("7")
    assert (record.uri, record.source, record.stamp) == (f"http://127.0.0.1:{web.port}/7.png", path.as_uri(), "")
    assert world.colours()["29"] == 29
    web.asked.clear()
    web.answers["5.png"] = png(5)
    assert outcome(world.add(path)) == (1, 0, 26, 3, 0)
    assert sorted(web.asked) == ["3.png", "4.png", "5.png", "6.png"]  # what is there is not asked for again
    names[7] = "77.png"
    web.answers["77.png"] = png(77)
    web.list(path, names[:20])
    assert outcome(world.add(path, prune=True)) == (0, 1, 16, 3, 10)
    assert world.colours()["7"] == 77
    assert [f.id for f in world.store.failures()] == ["3", "4", "6"]


def test_a_url_by_itself(world: World, web: Web) -> None:
    web.answers["x"] = png(5)
    url = f"http://127.0.0.1:{web.port}/x"
    assert outcome(world.add(url)) == (1, 0, 0, 0, 0)
    assert world.store.get(url).uri == url
    assert outcome(world.add(url)) == (0, 0, 1, 0, 0)
    assert web.asked == ["x"]


def test_the_same_ids_of_two_lists(world: World, web: Web, tmp_path: Path) -> None:
    web.answers = {"a": png(1), "b": png(2), "c": png(3)}
    first, second = web.list(tmp_path / "1.csv", ["a", "b"]), web.list(tmp_path / "2.csv", ["c", "b"])
    report = world.add(first, second)
    assert outcome(report) == (2, 0, 1, 1, 0)
    assert [(f.id, f.code) for f in report.failures] == [("0", "id_taken")]
    assert sorted(web.asked) == ["a", "b"]


def test_more_downloads_than_threads_run_at_once(world: World, web: Web, tmp_path: Path) -> None:
    names = [f"{n}" for n in range(40)]
    web.answers = {name: png(n) for n, name in enumerate(names)}
    web.delays = dict.fromkeys(names, 0.1)
    world.settings = Settings(threads=1, batch_size=4, fetch_connections=10)
    report = world.add(web.list(tmp_path / "l.csv", names))
    assert report.added == 40
    assert 5 < web.most_at_once <= 10
    assert report.seconds < 40 * 0.1


def test_servers_that_do_not_answer_do_not_hold_up_the_others(world: World, web: Web, tmp_path: Path) -> None:
    names = [f"{n}" for n in range(120)]
    web.answers = {name: png(n) for n, name in enumerate(names)}
    web.delays = {"0": 30, "40": 30, "80": 30}
    world.settings = Settings(threads=1, batch_size=4, fetch_connections=6, fetch_timeout=1.0, fetch_retries=0)
    report = world.add(web.list(tmp_path / "l.csv", names))
    assert outcome(report) == (117, 0, 0, 3, 0)
    assert report.seconds < 2.8  # side by side, not one second each


def test_stop_does_not_wait_for_a_server(world: World, web: Web, tmp_path: Path) -> None:
    names = [f"{n}" for n in range(30)]
    web.answers = {name: png(n) for n, name in enumerate(names)}
    web.delays = {f"{n}": 30 for n in range(6, 30)}
    world.settings = Settings(threads=2, batch_size=4, fetch_connections=8, fetch_timeout=20)
    stop = threading.Event()

    def press_when_all_hang() -> None:
        while len(web.asked) < 6 + 8:
            time.sleep(0.01)
        time.sleep(0.5)
        stop.set()

    threading.Thread(target=press_when_all_hang).start()
    report = world.add(web.list(tmp_path / "l.csv", names), stop=stop)
    assert report.interrupted
    assert report.added == 6  # those that were at hand
    assert report.seconds < 10.0


def test_the_budget_is_free_after_every_run(
    world: World, web: Web, pics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets: list[Any] = []

    class ByteBudget(byte_budget.ByteBudget):
        def __init__(self, limit: int) -> None:
            super().__init__(limit)
            budgets.append(self)

    monkeypatch.setattr(reader, "ByteBudget", ByteBudget)
    write(pics / "3.png", b"broken")
    web.answers = {"a": png(50), "b": b"broken", "c": 404}
    report = world.add(pics, web.list(pics / "l.csv", ["a", "b", "c"]))
    assert outcome(report) == (10, 0, 0, 3, 0)
    web.answers["b"] = png(51)

    def fail(_: object) -> None:
        raise RuntimeError("no")

    world.mean.before = fail
    assert outcome(world.add(pics, pics / "l.csv")) == (0, 0, 10, 3, 0)
    assert [budget._used for budget in budgets] == [0, 0]


# -- everything together ------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from("abcdefgh"), st.one_of(st.none(), st.integers(0, 3)), min_size=1),
            st.booleans(),
            st.integers(1, 3),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_after_every_run_the_collection_is_what_the_folder_is(
    tmp_path_factory: pytest.TempPathFactory, states: list[tuple[dict[str, int | None], bool, int]]
) -> None:
    folder = tmp_path_factory.mktemp("state")
    world = World()
    expected: dict[str, int] = {}
    for state, prune, batch_size in states:
        for file in folder.iterdir():
            file.unlink()
        for name, colour in state.items():
            write(folder / f"{name}.png", b"broken" if colour is None else png(colour))
        good = {f"{name}.png": colour for name, colour in state.items() if colour is not None}
        bad = sorted(f"{name}.png" for name, colour in state.items() if colour is None)
        world.settings = Settings(threads=2, batch_size=batch_size)
        report = world.add(folder, prune=prune)
        gone = [name for name in expected if name not in good and name not in bad] if prune else []
        assert report.added == len(set(good) - set(expected))
        assert report.replaced == sum(expected.get(name, colour) != colour for name, colour in good.items())
        assert report.added + report.replaced + report.unchanged == len(good)
        assert [f.id for f in report.failures] == [f.id for f in world.store.failures()] == bad
        assert report.removed == len(gone)
        expected = {name: colour for name, colour in (expected | good).items() if name not in gone}
        assert world.colours() == expected
    shutil.rmtree(folder)
