"""Calibration beside searches: nothing waits, one process fits, nothing is stored by halves."""

import io
import logging
import threading
import time

import numpy as np
import pytest
from PIL import Image
from runtimes import runtime

from imagefinder.collection import Collection, calibrating
from imagefinder.core.errors import UnknownMethodError
from imagefinder.search import null_model
from imagefinder.stores.embedded import EmbeddedStore
from imagefinder.testing.extractors import textured_image


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(textured_image(seed)).save(buffer, "PNG")
    return buffer.getvalue()


class Fits:
    """Counts the fits, and holds them until ``go_on`` is set."""

    def __init__(self, real):
        self.real = real
        self.count = 0
        self.began, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.error: Exception | None = None

    def __call__(self, *arguments, progress=None, **keywords):
        self.count += 1
        self.began.set()
        while not self.go_on.wait(0.02):
            progress(0, 1)
        if self.error:
            raise self.error
        return self.real(*arguments, progress=progress, **keywords)


@pytest.fixture
def fits(monkeypatch):
    fits = Fits(calibrating.fit)
    monkeypatch.setattr(calibrating, "fit", fits)
    yield fits
    fits.go_on.set()


@pytest.fixture
def opened(tmp_path):
    """Opens the collection of this test, as another process would."""
    collections = []

    def open_collection() -> Collection:
        store = EmbeddedStore(tmp_path / "c", create=not collections, cache_bytes=0)
        collections.append(Collection(store, runtime()))
        return collections[-1]

    yield open_collection
    for collection in collections:
        collection.close()


@pytest.fixture
def collection(opened):
    collection = opened()
    for seed in range(5):
        collection.put(f"{seed}.png", png(seed))
    return collection


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_search_does_not_wait(collection, fits):
    fits.go_on.clear()
    result = collection.search(textured_image(2))
    assert result.hits[0].id == "2.png"
    assert result.null_model == collection.calibration().null_model == "prior"
    assert collection.calibration().state == "running"
    assert collection.calibration().calibrated_images == 0
    fits.go_on.set()
    wait_until(lambda: collection.calibration().state == "current")
    assert collection.calibration().calibrated_images == 5
    assert collection.search(textured_image(2)).null_model == collection.calibration().null_model != "prior"
    assert fits.count == 1


def test_add_calibrates_and_reports_it(opened, tmp_path, fits):
    (tmp_path / "files").mkdir()
    for seed in range(3):
        (tmp_path / "files" / f"{seed}.png").write_bytes(png(seed))
    collection, seen = opened(), []
    report = collection.add(tmp_path / "files", methods=["sift"], progress=seen.append)
    assert collection.calibration().state == "current"
    shares = [one.share for one in seen if one.stage == "calibrate"]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert all(one.done == 3 for one in seen if one.stage == "calibrate")
    assert report.seconds >= seen[-1].seconds - 0.01
    assert collection.add(tmp_path / "files").unchanged == 3
    assert fits.count == 1


def test_add_calibrates_although_nothing_has_changed_if_that_is_due(opened, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.png").write_bytes(png(1))
    collection = opened()
    collection.add(tmp_path / "files", methods=["sift"])
    (tmp_path / "c" / "index" / null_model.NAME).unlink()
    again = opened()
    assert again.calibration().state == "none"
    assert again.add(tmp_path / "files").unchanged == 1
    assert again.calibration().state == "current"


def test_stopping_add_while_it_calibrates_leaves_the_images_and_a_note(opened, tmp_path, fits):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.png").write_bytes(png(1))
    collection, stop = opened(), threading.Event()
    fits.go_on.clear()
    threading.Thread(target=lambda: (fits.began.wait(20), stop.set())).start()
    report = collection.add(tmp_path / "files", methods=["sift"], stop=stop)
    assert (report.added, report.interrupted) == (1, False)
    assert report.notes == ("calibrating was interrupted; if need be, the next add or search does it",)
    assert collection.calibration().state == "none"
    fits.go_on.set()
    assert collection.add(tmp_path / "files").notes == ()
    assert collection.calibration().state == "current"


def test_add_does_not_wait_for_another_process(opened, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.png").write_bytes(png(1))
    collection = opened()
    lease, start = collection.store.lease(calibrating.LEASE, 60), time.monotonic()
    report = collection.add(tmp_path / "files", methods=["sift"])
    assert time.monotonic() - start < 30
    assert report.added == 1
    assert "another process is calibrating" in report.notes[0]
    lease.release()
    assert collection.add(tmp_path / "files").notes == ()
    assert collection.calibration().state == "current"


def test_of_two_processes_one_calibrates(collection, opened, fits):
    other = opened()
    fits.go_on.clear()
    collection.search(textured_image(1))
    fits.began.wait(10)
    assert other.search(textured_image(1)).null_model == "prior"
    time.sleep(0.2)
    assert fits.count == 1
    waiting = threading.Thread(target=other.calibrate)
    waiting.start()
    fits.go_on.set()
    waiting.join(20)
    assert not waiting.is_alive()
    assert fits.count == 1
    assert other.calibration() == collection.calibration()


def test_closing_stops_the_calibration_and_stores_nothing(collection, opened, fits):
    fits.go_on.clear()
    collection.search(textured_image(1))
    fits.began.wait(10)
    start = time.monotonic()
    collection.close()
    assert time.monotonic() - start < 5
    fits.go_on.set()
    again = opened()
    assert again.calibration().state == "none"
    assert again.calibrate()  # the lease was released
    assert again.calibration().state == "current"


def test_a_calibration_can_be_stopped(collection, fits):
    stop = threading.Event()
    stop.set()
    fits.go_on.clear()
    assert not collection.calibrate(stop=stop)
    assert collection.calibration().state == "none"


def test_a_failure_is_logged_once_and_tried_again_when_the_collection_has_changed(collection, fits, caplog):
    fits.error = UnknownMethodError("net", ["sift"])
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert collection.search(textured_image(3)).hits[0].id == "3.png"
            wait_until(lambda: collection.calibration().state != "running")
    assert fits.count == 1
    assert [record.levelname for record in caplog.records if "calibrated" in record.message] == ["WARNING"]
    fits.error = None
    collection.put("new.png", png(9))
    collection.search(textured_image(3))
    wait_until(lambda: collection.calibration().state == "current")


def test_an_outgrown_model_is_used_until_there_is_a_new_one(collection, fits):
    collection.calibrate()
    before = collection.calibration()
    for seed in range(5, 12):
        collection.put(f"{seed}.png", png(seed))
    assert collection.calibration().state == "outdated"
    fits.go_on.clear()
    assert collection.search(textured_image(1)).null_model == before.null_model
    fits.go_on.set()
    wait_until(lambda: collection.calibration().state == "current")
    assert collection.calibration().calibrated_images == 12


def test_an_empty_collection_is_not_calibrated(opened, fits):
    collection = opened()
    assert collection.search(np.zeros((50, 50, 3), dtype=np.uint8)).hits == ()
    wait_until(lambda: collection.calibration().state != "running")
    assert fits.count == 0


def test_a_search_asks_for_the_state_of_the_store_a_few_times(opened, monkeypatch):
    collection = opened()
    for seed in range(12):
        collection.put(str(seed), png(seed))
    collection.calibrate()
    calls, real = [], EmbeddedStore.info
    monkeypatch.setattr(EmbeddedStore, "info", lambda store: (calls.append(store), real(store))[1])
    assert collection.search(png(3)).hits[0].id == "3"
    assert len(calls) <= 4  # one each for methods, null model, indexes and encoding: it counts all files


def test_calibrating_need_not_wait_for_another_process(collection, opened, fits):
    lease = opened().store.lease(calibrating.LEASE, 60)
    start = time.monotonic()
    assert not collection.calibrate(wait=False)
    assert time.monotonic() - start < 10
    assert fits.count == 0
    lease.release()
    assert collection.calibrate(wait=False)


def test_calibrating_shows_the_progress_of_the_thread(collection, fits):
    fits.go_on.clear()
    collection.search(textured_image(1))
    fits.began.wait(10)
    seen = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        fits.go_on.set()

    assert collection.calibrate(progress, wait=False)
    assert seen
    assert fits.count == 1


def test_dropping_a_collection_is_not_reported(opened, collection, fits, caplog):
    fits.go_on.clear()
    collection.search(textured_image(1))
    fits.began.wait(10)
    collection.store.close()
    fits.go_on.set()
    wait_until(lambda: not collection._calibrating.is_running())
    assert "calibrated" not in caplog.text


def test_a_process_calibrates_one_collection_at_a_time(collection, fits, tmp_path):
    fits.go_on.clear()
    with Collection(EmbeddedStore(tmp_path / "other", create=True, cache_bytes=0), runtime()) as other:
        other.put("1.png", png(1))
        collection.search(textured_image(1))
        fits.began.wait(10)
        assert other.search(textured_image(1)).hits[0].id == "1.png"
        time.sleep(0.5)
        assert (fits.count, other.calibration().state) == (1, "running")
        fits.go_on.set()
        wait_until(lambda: other.calibration().state == "current")
    assert fits.count == 2


def test_a_collection_that_waits_for_its_turn_can_be_closed(collection, fits, tmp_path):
    fits.go_on.clear()
    with Collection(EmbeddedStore(tmp_path / "other", create=True, cache_bytes=0), runtime()) as other:
        other.put("1.png", png(1))
        collection.search(textured_image(1))
        fits.began.wait(10)
        other.search(textured_image(1))
        start = time.monotonic()
    assert time.monotonic() - start < 5
    assert fits.count == 1
