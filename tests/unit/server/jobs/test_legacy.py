"""Import of the job files of version 0.1.0, whose fixture is from a server killed while a job ran."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from imagefinder.core.errors import StoreError
from imagefinder.core.job_records import JobRecord
from imagefinder.core.serialization import to_json
from imagefinder.server.jobs import legacy
from imagefinder.server.jobs.store import JobStore

OLD_STATE = Path(__file__).parents[3] / "fixtures" / "server-state"
Server = Any  # of conftest.py


@pytest.fixture
def state(tmp_path: Path) -> Path:
    shutil.copytree(OLD_STATE, tmp_path / "state")
    return tmp_path / "state"


def folder(state: Path) -> Path:
    (found,) = (state / "jobs").iterdir()
    return found


def opened(state: Path) -> list[JobRecord]:
    """The jobs that a server of the collection loads."""
    store = JobStore(state, Path("/c"))
    assert store.acquire()
    records = store.load()
    store.release()
    return records


def test_all_job_files_are_imported(state: Path) -> None:
    old = {path.stem: json.loads(path.read_text()) for path in folder(state).glob("*.json")}
    records = opened(state)
    assert [record.job.state for record in records] == ["succeeded", "failed", "running", "cancelled", "queued"]
    for record in records:
        content = old[record.job.id]
        kind = {"index": "add"}.get(content["job"]["kind"], content["job"]["kind"])
        assert to_json(record.job) == {**content["job"], "kind": kind}
        assert (record.spec, record.tries, record.cancel) == (content["spec"], content["tries"], content["cancel"])
    store = JobStore(state, Path("/c"))
    assert store.upload(records[2].job.id) == b"\x00\xffcat"
    assert store.upload(records[4].job.id) == b"url,id\nhttp://x/b,2\n"


def test_only_the_imported_files_are_moved(state: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder(state).iterdir() if path.is_file()}
    lists = next(folder(state).glob("lists/*/list.csv")).read_bytes()
    opened(state)
    moved = {path.name: path.read_bytes() for path in (folder(state) / "imported").iterdir()}
    assert moved == {name: data for name, data in before.items() if name != "lock"}
    assert {path.name for path in folder(state).iterdir()} == {"imported", "lists", "lock"}
    assert JobStore(state, Path("/c")).list_path("a").read_bytes() == lists


def test_a_server_continues_the_imported_jobs(server: Server) -> None:
    shutil.copytree(OLD_STATE, server.state)
    server.begin()
    server.a.go.set()
    running, queued = [job for job in reversed(server.manager.list()) if not job.ended]
    server.wait(running), server.wait(queued)
    (put, add) = server.a.calls
    assert put == ("put", "cat", b"\x00\xffcat", {"from": "caf\u00e9"}, "http://x/cat")
    assert Path(add[1][0]).read_text() == "url,id\nhttp://x/b,2\n"


@pytest.mark.parametrize("after", range(8))
def test_a_crash_while_files_are_moved_imports_nothing_twice(
    state: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    expected = sorted(path.stem for path in folder(state).glob("*.json"))
    move, moved = Path.replace, []

    def crash(path: Path, target: Path) -> Path:
        if len(moved) == after:
            raise OSError(5, "crash")
        moved.append(path)
        return move(path, target)

    with monkeypatch.context() as crashing:
        crashing.setattr(Path, "replace", crash)
        store = JobStore(state, Path("/c"))
        if after < 7:
            with pytest.raises(StoreError, match="crash"):
                store.acquire()
        else:
            assert store.acquire()
            store.release()
    records = opened(state)
    assert [record.job.id for record in records] == expected
    assert JobStore(state, Path("/c")).upload(expected[2]) == b"\x00\xffcat"
    assert not list(folder(state).glob("*.*"))


def test_a_crash_before_the_import_is_complete_imports_nothing(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(folder(state).iterdir())
    read = legacy.read_files

    def crash(place: Path) -> Any:
        files = read(place)
        yield next(files)
        raise ZeroDivisionError

    with monkeypatch.context() as crashing:
        crashing.setattr(legacy, "read_files", crash)
        with pytest.raises(ZeroDivisionError):
            JobStore(state, Path("/c")).acquire()
    assert sorted(folder(state).iterdir()) == before
    assert JobStore(state, Path("/c")).load() == []
    assert len(opened(state)) == 5


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace('"id": "0', '"id": "1'),
        lambda text: text.replace('"tries": 1', '"tries": -1'),
        lambda _: "[" * 100_000,
    ],
)
def test_a_damaged_file_is_logged_and_skipped(state: Path, caplog: pytest.LogCaptureFixture, damage: Any) -> None:
    victim = sorted(folder(state).glob("*.json"))[2]
    text = damage(victim.read_text())
    victim.write_text(text)
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.ERROR):
            assert [record.job.state for record in opened(state)] == ["succeeded", "failed", "cancelled", "queued"]
        assert str(victim) in caplog.text
        assert victim.read_text() == text
        assert victim.with_suffix(".data").read_bytes() == b"\x00\xffcat"


def test_the_import_waits_for_a_running_old_server(state: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    with (folder(state) / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as version 0.1.0 does
        assert not JobStore(state, Path("/c")).acquire()
        assert len(list(folder(state).glob("*.json"))) == 5
    assert len(opened(state)) == 5
