import io
import json
import threading

import pytest
from PIL import Image

import imagefinder
from imagefinder.core.errors import SourceError
from imagefinder.core.records import Failure
from imagefinder.search import null_model
from imagefinder.testing.extractors import textured_image

SETTINGS = imagefinder.Settings(sift_max_keypoints=40, threads=1)


def encoded(seed):
    buffer = io.BytesIO()
    Image.fromarray(textured_image(seed)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(40):
        (folder / f"{seed}.png").write_bytes(encoded(seed))
    return folder


@pytest.fixture
def source(tmp_path, pictures):
    with imagefinder.open(tmp_path / "source", settings=SETTINGS) as collection:
        collection.add(pictures, methods=["sift"])
        collection.remove("39.png")
        collection.store.record_failures([Failure("bad.jpg", "file:///bad.jpg", "not_an_image", "no image")])
        yield collection


@pytest.fixture
def target(tmp_path):
    with imagefinder.open(tmp_path / "target", settings=SETTINGS) as collection:
        yield collection


def test_the_copy_answers_as_the_original_does(source, target):
    report = source.copy_to(target)
    assert (report.images, report.copied, report.unchanged, report.removed) == (39, 39, 0, 0)
    assert (report.failures, report.removals, report.null_model, report.verified) == (1, 1, True, True)
    assert (report.problems, report.interrupted) == ((), False)
    assert (report.source, report.target) == (source.info().location, target.info().location)
    query = encoded(7)
    first, second = (collection.search(query, method="sift") for collection in (source, target))
    assert first.hits == second.hits
    assert first.hits[0].id == "7.png"
    assert (
        null_model.read(target.store, target.runtime.calibrator).version
        == null_model.read(source.store, source.runtime.calibrator).version
    )
    assert target.check().damages == ()


def test_the_images_stay_removed_in_the_copy(source, target, pictures):
    source.copy_to(target)
    report = target.add(pictures, methods=["sift"])
    assert (report.added, report.unchanged) == (0, 39)
    assert not target.store.status(["39.png"])


def test_a_target_that_is_not_empty_is_refused_by_name(source, target):
    target.put("own", encoded(99))
    with pytest.raises(SourceError, match=r"target is not empty: it has 1 image$") as caught:
        source.copy_to(target)
    assert "--resume" in caught.value.hint
    with pytest.raises(SourceError, match=r"target is not a copy of .*source"):
        source.copy_to(target, resume=True)
    assert [record.id for record in target.images()] == ["own"]


def test_a_copy_of_another_collection_is_refused(source, target, tmp_path):
    source.copy_to(target)
    with imagefinder.open(tmp_path / "other", settings=SETTINGS) as other:
        with pytest.raises(SourceError, match=r"target is a copy of .*source, not of .*other"):
            other.copy_to(target, resume=True)
        with pytest.raises(SourceError, match=r"source is not a copy of .*source"):
            source.copy_to(source, resume=True)
    assert target.info().images == 39


def test_a_copy_follows_its_original_until_it_is_changed(source, target):
    source.copy_to(target)
    source.put("new", encoded(100))
    source.remove("1.png")
    report = source.copy_to(target, resume=True)
    assert (report.copied, report.unchanged, report.removed, report.verified) == (1, 38, 1, True)
    assert (report.images, report.removals) == (39, 2)
    target.put("own", encoded(101))
    with pytest.raises(SourceError, match="has changed since it was copied"):
        source.copy_to(target, resume=True)
    assert target.store.status(["own"])


def test_an_interrupted_copy_is_continued_and_equal_in_the_end(source, target):
    stop = threading.Event()
    report = source.copy_to(target, stop=stop, progress=lambda *_: stop.set())
    assert (report.interrupted, report.verified) == (True, False)
    with pytest.raises(SourceError, match="is not empty"):
        source.copy_to(target)
    report = source.copy_to(target, resume=True)
    assert (report.verified, report.unchanged, report.copied) == (True, 39, 0)
    assert target.store.removals() == source.store.removals()


def test_a_damaged_marker_is_no_marker(source, target):
    source.copy_to(target)
    for data in (b"", b"[]", b"{", json.dumps({"source": 1}).encode()):
        target.store.put_derived("copy.json", data)
        with pytest.raises(SourceError, match="cannot be resumed"):
            source.copy_to(target, resume=True)


def test_progress_names_both_stages(source, target):
    seen = []
    source.copy_to(target, progress=lambda *step: seen.append(step))
    assert seen == [("copy", 39, 39), ("verify", 39, 39)]
