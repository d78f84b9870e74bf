"""Memory in use, and downloads."""

import gc
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from indexing_world import Web, World, outcome, png, write

from imagefinder.core.settings import Settings
from imagefinder.images.decoding.decode import Decoded, decode
from imagefinder.indexing import byte_budget, reader


def test_pixels_in_flight_are_bounded(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = 100 * 100 * 3
    monkeypatch.setattr(reader, "_BUDGET", 6 * one)
    monkeypatch.setattr(reader, "_BUDGET_PER_THREAD", 0)
    for n in range(60):
        write(tmp_path / "p" / f"{n:02}.png", png(n))
    alive: list[int] = []
    most = 0
    lock = threading.Lock()

    def large(data: bytes, *, max_bytes: int, max_pixels: int, page: int = 1, fit_in: int = 0) -> Decoded:
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
    assert most <= 6 + 3 + 3  # the budget, tasks next in line that always pass, and one in each thread
    assert len(alive) == 0


def test_an_image_larger_than_the_budget_is_added(
    world: World, pics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_BUDGET", 1)
    monkeypatch.setattr(reader, "_BUDGET_PER_THREAD", 0)
    assert outcome(world.add(pics)) == (10, 0, 0, 0, 0)
    assert set(world.mean.batches) == {1}


# -- downloads ----------------------------------------------------------------------------------------------


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
    web.requested.clear()
    web.answers["5.png"] = png(5)
    assert outcome(world.add(path)) == (1, 0, 26, 3, 0)
    assert sorted(web.requested) == ["3.png", "4.png", "5.png", "6.png"]  # stored images are not downloaded again
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
    assert web.requested == ["x"]


def test_the_same_ids_of_two_lists(world: World, web: Web, tmp_path: Path) -> None:
    web.answers = {"a": png(1), "b": png(2), "c": png(3)}
    first, second = web.list(tmp_path / "1.csv", ["a", "b"]), web.list(tmp_path / "2.csv", ["c", "b"])
    report = world.add(first, second)
    assert outcome(report) == (2, 0, 1, 1, 0)
    assert [(f.id, f.code) for f in report.failures] == [("0", "id_taken")]
    assert sorted(web.requested) == ["a", "b"]


def test_more_downloads_than_threads_run_at_once(world: World, web: Web, tmp_path: Path) -> None:
    names = [f"{n}" for n in range(40)]
    web.answers = {name: png(n) for n, name in enumerate(names)}
    web.delays = dict.fromkeys(names, 0.1)
    world.settings = Settings(threads=1, batch_size=4, fetch_connections=10)
    report = world.add(web.list(tmp_path / "l.csv", names))
    assert report.added == 40
    assert 5 < web.max_active <= 10
    assert report.seconds < 40 * 0.1


def test_servers_that_do_not_answer_do_not_hold_up_the_others(world: World, web: Web, tmp_path: Path) -> None:
    names = [f"{n}" for n in range(120)]
    web.answers = {name: png(n) for n, name in enumerate(names)}
    web.delays = {"0": 30, "40": 30, "80": 30}
    world.settings = Settings(threads=1, batch_size=4, fetch_connections=6, fetch_timeout=3.0, fetch_retries=0)
    report = world.add(web.list(tmp_path / "l.csv", names))
    assert outcome(report) == (117, 0, 0, 3, 0)
    assert report.seconds < 8  # concurrently, not three seconds each


def test_stop_does_not_wait_for_a_server(world: World, web: Web, tmp_path: Path) -> None:
    names = [f"{n}" for n in range(30)]
    web.answers = {name: png(n) for n, name in enumerate(names)}
    web.delays = {f"{n}": 30 for n in range(6, 30)}
    world.settings = Settings(threads=2, batch_size=4, fetch_connections=8, fetch_timeout=20)
    stop = threading.Event()

    def press_when_all_hang() -> None:
        while len(web.requested) < 6 + 8:
            time.sleep(0.01)
        time.sleep(0.5)
        stop.set()

    threading.Thread(target=press_when_all_hang).start()
    report = world.add(web.list(tmp_path / "l.csv", names), stop=stop)
    assert report.interrupted
    assert report.added == 6  # those that had been read
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
