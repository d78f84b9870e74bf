"""Indexing from real folders and archives into a store in memory, with cheap methods."""

import hashlib
import io
import os
import shutil
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from indexing_world import Mean, Missing, World, outcome, png, write
from PIL import Image

from imagefinder.core.errors import DamagedImageError, FingerprintMismatchError, ModelError, ModelMissingError
from imagefinder.core.features import GlobalFeatures, RgbImage
from imagefinder.core.records import Entry
from imagefinder.core.settings import Settings
from imagefinder.images.decoding.decode import Decoded, decode
from imagefinder.images.metadata.read import read
from imagefinder.indexing import pipeline
from imagefinder.indexing.discover import discover
from imagefinder.indexing.file_metadata import FileMetadataReader
from imagefinder.indexing.progress import Progress
from imagefinder.indexing.source_item import SourceItem

# -- the ordinary way -------------------------------------------------------------------------------------


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
    assert world.store.get("3.png").stamp.split(":")[1] == "1000000000"


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
    assert world.store.get("5.png").stamp.split(":")[1] == "1000000000"
    assert world.colours()["4.png"] == 400
    assert outcome(world.add(pics)) == (0, 0, 10, 0, 0)


def test_the_result_does_not_depend_on_threads_or_batches(pics: Path) -> None:
    for n in range(40):
        write(pics / f"more/{n}.png", png(n, size=1 + n % 13) if n % 7 else b"broken")
    seen = []
    for threads, batch_size in [(1, 1), (1, 7), (4, 3), (9, 16)]:
        world = World(settings=Settings(threads=threads, batch_size=batch_size))
        puts: list[str] = []
        put = world.store.put
        world.store.put = lambda entries, put=put, puts=puts, **more: (  # type: ignore[method-assign]
            puts.extend(e.image.id for e in entries),
            put(entries, **more),
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


# -- failures ---------------------------------------------------------------------------------------------


def test_a_failed_image_is_recorded_retried_and_cleared(world: World, pics: Path) -> None:
    write(pics / "3.png", b"not an image at all")
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
    write(pics / "3.png", png(3))  # repaired
    (pics / "4.png").unlink()  # gone
    assert outcome(world.add(pics)) == (1, 0, 7, 1, 0)
    assert [f.id for f in world.store.failures()] == ["5.png"]


def test_a_stored_image_stays_when_its_file_is_damaged(world: World, pics: Path) -> None:
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


def test_a_decoder_crash_affects_one_image(world: World, pics: Path) -> None:
    def fragile(data: bytes, *, max_bytes: int, max_pixels: int, page: int = 1, fit_in: int = 0) -> Decoded:
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


def test_a_method_failure_affects_one_image(world: World, pics: Path) -> None:
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


def test_a_method_that_returns_too_few_features_raises(world: World, pics: Path) -> None:
    world.mean.extract = lambda _: GlobalFeatures(np.zeros((1, 3), np.float32))  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="mean returned features of 1 images instead of 4"):
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
        pipeline.Pipeline(world.store, [], world.settings, decode, FileMetadataReader(read)).run(untouched())
    world.add(pics)
    with pytest.raises(FingerprintMismatchError):
        world.add(items=untouched(), extractors=[Mean(version=2)])


def test_a_model_that_is_lost_on_the_way_ends_the_run(world: World, pics: Path) -> None:
    def lose(_: object) -> None:
        if len(world.rows.batches) > 1:
            raise ModelError("the weights are gone")

    world.rows.before = lose
    others = threading.active_count()
    with pytest.raises(ModelError):
        world.add(pics)
    assert len(world.ids()) == 4
    assert threading.active_count() < others + 10


def test_a_source_failure_ends_the_run_and_keeps_earlier_images(world: World, pics: Path) -> None:
    def broken() -> Iterator[Any]:
        yield from discover([pics])
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        world.add(items=broken())
    assert len(world.ids()) == 10


# -- one id, two images -----------------------------------------------------------------------------------


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


def test_an_uploaded_image_is_not_overwritten(world: World, pics: Path) -> None:
    world.add(pics)
    record = world.store.get("3.png")
    world.store.put([Entry(replace(record, uri="", source="", sha256="0" * 64), {})])
    report = world.add(pics)
    assert [(f.id, f.code) for f in report.failures] == [("3.png", "id_taken")]
    assert "uploaded" in report.failures[0].message
    world.store.put([Entry(replace(record, uri="", source=""), {})])
    assert outcome(world.add(pics)) == (0, 1, 9, 0, 0)  # the same bytes: now it is known where they lie
    assert world.store.get("3.png").uri == record.uri


def test_the_same_bytes_and_id_in_another_source_are_unchanged(world: World, tmp_path: Path) -> None:
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
    assert outcome(report) == (0, 0, 9, 1, 0)  # another image, and the old folder may only be unmounted
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


# -- stopping ---------------------------------------------------------------------------------------------


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


# -- progress ---------------------------------------------------------------------------------------------


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


# -- everything together ----------------------------------------------------------------------------------


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
def test_after_every_run_the_collection_equals_the_folder(
    tmp_path_factory: pytest.TempPathFactory, states: list[tuple[dict[str, int | None], bool, int]]
) -> None:
    folder = tmp_path_factory.mktemp("state")
    world = World()
    expected: dict[str, int] = {}
    failed: list[str] = []
    for state, prune, batch_size in states:
        for file in folder.iterdir():
            file.unlink()
        for name, colour in state.items():
            write(folder / f"{name}.png", b"broken" if colour is None else png(colour))
        good = {f"{name}.png": colour for name, colour in state.items() if colour is not None}
        bad = sorted(f"{name}.png" for name, colour in state.items() if colour is None)
        world.settings = Settings(threads=2, batch_size=batch_size)
        report = world.add(folder, prune=prune)
        before, moved = dict(expected), 0
        for name, colour in sorted(good.items()):
            if expected.get(name) != colour:
                absent = sorted(i for i in expected if i not in good and i not in bad and expected[i] == colour)
                if absent:  # this file was renamed
                    del expected[absent[0]]
                    moved += name not in before
            expected[name] = colour
        gone = [name for name in expected if name not in good and name not in bad] if prune else []
        assert (report.added, report.moved) == (len(set(good) - set(before)) - moved, moved)
        assert report.replaced == sum(before.get(name, colour) != colour for name, colour in good.items())
        assert report.added + report.moved + report.replaced + report.unchanged == len(good)
        assert sorted(f.id for f in report.failures) == [f.id for f in world.store.failures()] == bad
        new = [f.id for f in report.failures[: report.failed - report.failed_before]]
        assert new == [name for name in bad if name not in failed]
        failed = bad
        assert report.removed == len(gone)
        expected = {name: colour for name, colour in (expected | good).items() if name not in gone}
        assert world.colours() == expected
    shutil.rmtree(folder)
