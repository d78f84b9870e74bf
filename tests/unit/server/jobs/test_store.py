"""Storage of jobs, with one owner per queue at a time."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagefinder.core.errors import StoreError
from imagefinder.core.job_records import JobRecord
from imagefinder.core.jobs import Job, JobFailure, JobProgress
from imagefinder.server.jobs.store import JobStore
from imagefinder.server.state import FILE_NAME


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    store = JobStore(tmp_path / "state", tmp_path / "c")
    assert store.acquire()
    return store


def record(job_id: str = "1", **changes: Any) -> JobRecord:
    return JobRecord(Job(job_id, "put", "a", "queued", "2026-01-01T00:00:00Z", **changes), {"id": "caf\u00e9"})


def ended(before: JobRecord) -> JobRecord:
    return replace(before, job=replace(before.job, state="succeeded", finished_at="2026-01-01T00:00:01Z"))


def change(state: Path, statement: str) -> None:
    with closing(sqlite3.connect(state / FILE_NAME)) as database, database:
        database.execute(statement)


def test_stored_jobs_round_trip(store: JobStore) -> None:
    full = replace(
        record(
            "2",
            progress=JobProgress("add", 1, 2, 3, 4, 5),
            failures=(JobFailure("x", "", "bad", "cut short"),),
            result={"n": [1]},
        ),
        tries=2,
        cancel=True,
    )
    for one in (full, record("1")):
        store.add(one)
    assert store.load() == [record("1"), full]
    later = replace(record("1"), tries=1)
    store.save(later)
    assert store.load() == [later, full]


def test_an_upload_exists_until_its_job_ends(store: JobStore) -> None:
    for job_id in "12":
        store.add(record(job_id), job_id.encode() * 1000)
    store.save(replace(record("1"), tries=1))
    assert store.upload("1") == b"1" * 1000
    store.save(ended(record("1")))
    store.delete(["2"])
    for job_id in "12":
        with pytest.raises(StoreError, match=f"the job {job_id} has no upload"):
            store.upload(job_id)
    assert store.load() == [ended(record("1"))]


def test_a_job_and_its_upload_are_stored_atomically(store: JobStore) -> None:
    store.add(record("1"), b"x")
    with pytest.raises(StoreError):
        store.add(record("2"), "not bytes")  # type: ignore[arg-type]
    assert store.load() == [record("1")]


def test_one_owner_for_each_default_collection(tmp_path: Path, store: JobStore) -> None:
    second, other = (
        JobStore(tmp_path / "state", tmp_path / "c"),
        JobStore(tmp_path / "state", tmp_path / "d" / "c"),
    )
    assert store.acquire()
    assert not second.acquire()
    assert other.acquire()
    store.add(record("1"))
    assert other.load() == []
    assert other.list_path("a") != store.list_path("a") == second.list_path("a") != store.list_path("b")
    store.release()
    assert second.acquire()
    assert second.load() == [record("1")]


def test_a_killed_owner_releases_the_lock(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from imagefinder.server.jobs.store import JobStore\n"
        "store = JobStore(Path(sys.argv[1], 'state'), Path(sys.argv[1], 'c'))\n"
        "print(store.acquire(), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == "True\n"
        store = JobStore(tmp_path / "state", tmp_path / "c")
        assert store.exists()
        assert not store.acquire()
        owner.kill()
        owner.wait()
        assert store.acquire()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE jobs SET job = '{' WHERE id = '1'",
        "UPDATE jobs SET job = replace(job, 'queued', 'lost') WHERE id = '1'",
        "UPDATE jobs SET spec = '[]' WHERE id = '1'",
        "UPDATE jobs SET tries = -1 WHERE id = '1'",
        "UPDATE jobs SET job = (SELECT job FROM jobs WHERE id = '2') WHERE id = '1'",
    ],
)
def test_a_damaged_job_is_logged_and_not_deleted(
    tmp_path: Path, store: JobStore, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    for job_id in "12":
        store.add(record(job_id), b"x")
    change(tmp_path / "state", damage)
    with caplog.at_level(logging.ERROR):
        assert store.load() == [record("2")]
    assert "the damaged job 1 in" in caplog.text
    assert store.upload("1") == b"x"


def test_a_damaged_state_is_reported_and_not_replaced(tmp_path: Path, store: JobStore) -> None:
    store.add(record())
    store.release()
    file = tmp_path / "state" / FILE_NAME
    file.write_bytes(b"?" * 10_000)
    for use in (store.load, lambda: store.add(record("2")), lambda: store.upload("1")):
        with pytest.raises(StoreError, match="damaged"):
            use()
    assert file.read_bytes() == b"?" * 10_000


def test_a_lock_that_cannot_be_opened_is_reported(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "state", tmp_path / "c")
    store.acquire()
    store.release()
    (lock,) = tmp_path.glob("state/jobs/*/lock")
    lock.unlink()
    lock.mkdir()
    with pytest.raises(StoreError, match="cannot be used"):
        store.acquire()
