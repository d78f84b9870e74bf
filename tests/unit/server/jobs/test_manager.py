"""Jobs queue, run, stop, survive."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from imagefinder.core.errors import DamagedImageError, StoreError
from imagefinder.core.jobs import Job, JobFailure, JobProblem
from imagefinder.server.errors import Problem
from imagefinder.server.jobs import manager as manager_module
from imagefinder.server.jobs.manager import MAX_TRIES

Server = Any  # of conftest.py


def test_nothing_is_written_before_the_first_job(server: Server) -> None:
    assert server.manager.list() == []
    assert not server.state.exists()


def test_a_list_is_indexed(server: Server) -> None:
    server.a.go.set()
    server.a.failures = 120
    job = server.manager.start("index", "a", csv="url,id\nhttp://x/a,1\n", methods=["sift"], prune=True)
    assert (job.kind, job.collection, job.state) == ("index", "a", "queued")
    done = server.wait(job)
    assert done.state == "succeeded"
    assert done.result is not None
    assert (done.result["added"], done.result["failed"]) == (9, 120)
    assert done.failures[0] == JobFailure("0", "", "damaged_image", "bad")
    assert len(done.failures) == 100
    (verb, (path,), methods, prune), learned = server.a.calls
    assert (verb, methods, prune, learned) == ("add", ["sift"], True, ("learn",))
    assert Path(path).read_text() == "url,id\nhttp://x/a,1\n"
    assert server.a.guards[0].local_files is False
    assert server.files(".data") == []


def test_lists_of_one_collection_are_one_source(server: Server) -> None:
    server.a.go.set(), server.b.go.set()
    for name in ("a", "a", "b"):
        server.wait(server.manager.start("index", name, csv="url,id\n"))
    first, second = [call[1] for call in server.a.calls if call[0] == "add"]
    assert first == second != server.b.calls[0][1]


def test_a_folder_is_indexed_only_where_it_is_allowed(server: Server, tmp_path: Path) -> None:
    allowed, other = tmp_path / "allowed", tmp_path / "other"
    (allowed / "x").mkdir(parents=True)
    other.mkdir()
    (allowed / "out").symlink_to(other)
    server.a.go.set()
    server.wait(server.manager.start("index", "a", folder=str(allowed / "x" / ".." / "x")))
    assert server.a.calls[0][1] == (str(allowed / "x"),)
    assert server.a.guards[0].within == (str(allowed),)
    for folder, code in {
        other: "folder_not_allowed",
        allowed / ".." / "other": "folder_not_allowed",
        allowed / "out": "folder_not_allowed",
        "x": "folder_not_allowed",
        "": "folder_not_allowed",
        "/\0": "folder_not_allowed",
        "/\ud800": "folder_not_allowed",
        f"{allowed}x": "folder_not_allowed",
        allowed / "y": "folder_not_found",
    }.items():
        with pytest.raises(Problem) as caught:
            server.manager.start("index", "a", folder=str(folder))
        assert caught.value.code == code, folder


def test_a_put_is_on_disk_before_it_is_acknowledged(server: Server) -> None:
    job = server.manager.start_put("a", "cat", b"bytes", {"k": 1}, uri="http://x/cat")
    assert [path.read_bytes() for path in server.files(".data")] == [b"bytes"]
    server.a.go.set()
    assert server.wait(job).result == {"id": "cat"}
    assert server.a.calls == [("put", "cat", b"bytes", {"k": 1}, "http://x/cat")]
    assert server.files(".data") == []


def test_a_failed_job_says_why(server: Server) -> None:
    server.a.go.set()
    server.a.error = DamagedImageError("cut short", hint="send it again")
    problem = server.wait(server.manager.start_put("a", "cat", b"x")).problem
    assert problem == JobProblem("damaged_image", "cut short", "send it again")
    server.a.error = ZeroDivisionError("secret")
    failed = server.wait(server.manager.start_put("a", "cat", b"x"))
    assert failed.problem is not None
    assert failed.problem.code == "internal_error"
    assert "secret" not in str(failed)
    server.a.error = StoreError("/secret/place")
    assert "secret" not in str(server.wait(server.manager.start_put("a", "cat", b"x")))


def test_duplicates_are_kept_in_the_collection(server: Server) -> None:
    server.a.go.set()
    done = server.wait(server.manager.start("duplicates", "a"))
    assert done.result is not None
    assert (done.result["groups"], done.result["candidates"]) == (0, 3)
    content = json.loads(server.a.derived["duplicates.json"])
    assert content["report"]["candidates"] == 3
    assert content["state"] == {"images": 7, "methods": {}}
    assert content["computed_at"].endswith("Z")


def test_an_index_is_rebuilt(server: Server) -> None:
    done = server.wait(server.manager.start("rebuild", "a"))
    assert (done.state, done.progress.stage) == ("succeeded", "sift")
    assert done.result
    assert server.a.calls == [("rebuild",)]


def test_one_job_at_a_time_in_a_collection_and_collections_beside_each_other(server: Server) -> None:
    first, second = server.manager.start_put("a", "1", b"x"), server.manager.start_put("a", "2", b"x")
    other = server.manager.start_put("b", "1", b"x")
    assert server.a.at_work.wait(10)
    assert server.b.at_work.wait(10)
    assert server.manager.get(second.id).state == "queued"
    server.b.go.set()
    server.wait(other)
    assert server.manager.get(second.id).state == "queued"
    server.a.go.set()
    server.wait(first), server.wait(second)
    assert [call[1] for call in server.a.calls] == ["1", "2"]


def test_more_than_the_queue_holds_is_turned_away(server: Server) -> None:
    first = server.manager.start_put("a", "1", b"x")
    server.wait(first, "running")
    for n in range(5):
        server.manager.start_put("a", str(n), b"x")
    with pytest.raises(Problem) as caught:
        server.manager.start_put("a", "no", b"x")
    assert caught.value.code == "busy"
    assert "Retry-After" in caught.value.headers
    assert len(server.files(".json")) == 6
    assert (server.manager.count("running"), server.manager.count("queued")) == (1, 5)


def test_unknown_things_are_told(server: Server) -> None:
    for call, code in (
        (lambda: server.manager.start("duplicates", "c"), "unknown_collection"),
        (lambda: server.manager.start_put("c", "1", b"x"), "unknown_collection"),
        (lambda: server.manager.get("x"), "unknown_job"),
        (lambda: server.manager.cancel("x"), "unknown_job"),
    ):
        with pytest.raises(Problem) as caught:
            call()
        assert caught.value.code == code
    with pytest.raises(Problem) as caught:
        server.manager.start("index", "a", urls=["http://x/a.jpg"], methods=["surf"])
    assert (caught.value.code, caught.value.members["field"]) == ("unknown_method", "methods")


def test_cancelling(server: Server) -> None:
    running, queued = server.manager.start("index", "a", csv="url,id\n"), server.manager.start("duplicates", "a")
    server.wait(running, "running")
    assert server.manager.cancel(queued.id).state == "cancelled"
    server.manager.cancel(running.id)
    ended = server.wait(running)
    assert ended.state == "cancelled"
    assert ended.result is not None
    assert ended.result["interrupted"] is True
    assert server.manager.cancel(running.id) == ended
    duplicates = server.manager.start("duplicates", "a")
    server.wait(duplicates, "running")
    server.manager.cancel(duplicates.id)
    assert server.wait(duplicates).state == "cancelled"
    assert server.a.derived == {}


def test_find_and_list(server: Server) -> None:
    assert server.manager.find("duplicates", "a") is None
    first = server.manager.start("duplicates", "a")
    second = server.manager.start("index", "a", csv="url,id\n")
    found = server.manager.find("duplicates", "a")
    assert found is not None
    assert found.id == first.id
    assert server.manager.find("duplicates", "b") is None
    assert [job.id for job in server.manager.list()] == [second.id, first.id]
    assert [job.id for job in server.manager.list(limit=1)] == [second.id]
    assert [job.id for job in server.manager.list(before=second.id)] == [first.id]
    server.wait(first, "running")
    assert [job.id for job in server.manager.list(state="queued")] == [second.id]
    assert server.manager.list(collection="b") == []
    server.a.go.set()
    server.wait(second)
    assert server.manager.find("duplicates", "a") is None


# restarts


def test_a_proper_end_interrupts_and_the_next_start_goes_on(server: Server) -> None:
    running = server.manager.start("index", "a", csv="url,id\n")
    waiting = server.manager.start_put("a", "1", b"x")
    server.wait(running, "running")
    server.manager.close(10)
    assert json.loads(server.files(".json")[0].read_bytes())["tries"] == 0
    server.begin()
    server.a.go.set()
    assert server.wait(running).state == "succeeded"
    assert server.wait(waiting).state == "succeeded"
    assert [call[0] for call in server.a.calls] == ["add", "learn", "put"]


def test_a_killed_server_goes_on(server: Server) -> None:
    running = server.manager.start_put("a", "1", b"one")
    waiting = server.manager.start_put("a", "2", b"two", {"n": 2})
    assert server.a.at_work.wait(30)
    server.kill()
    server.begin()
    server.a.go.set()
    server.wait(running), server.wait(waiting)
    assert server.a.calls == [("put", "1", b"one", None, ""), ("put", "2", b"two", {"n": 2}, "")]


def crash(server: Server, job: Job) -> None:
    assert server.manager.get(job.id).id == job.id
    assert server.a.at_work.wait(30)
    server.kill()


def test_a_job_that_kills_the_server_is_given_up(server: Server) -> None:
    job = server.manager.start_put("a", "1", b"x")
    for _ in range(MAX_TRIES):
        crash(server, job)
        server.begin()
    ended = server.manager.get(job.id)
    assert ended.state == "failed"
    assert ended.problem is not None
    assert ended.problem.code == "job_crashed"
    assert server.a.calls == []
    server.manager.close()
    server.begin()
    assert server.manager.get(job.id) == ended
    assert server.files(".data") == []


def test_a_job_that_gets_further_each_time_is_not(server: Server) -> None:
    job = server.manager.start("index", "a", csv="url,id\n")
    for _ in range(MAX_TRIES + 2):
        crash(server, job)
        server.begin()
    server.a.go.set()
    assert server.wait(job).state == "succeeded"


def test_a_job_that_may_have_killed_the_server_runs_alone(server: Server) -> None:
    suspect = server.manager.start_put("a", "1", b"x")
    crash(server, suspect)
    server.begin()
    server.wait(suspect, "running")
    other = server.manager.start_put("b", "1", b"x")
    time.sleep(0.1)
    assert server.manager.get(other.id).state == "queued"
    server.a.go.set(), server.b.go.set()
    server.wait(suspect), server.wait(other)


def test_cancelled_before_the_crash_is_cancelled_after_it(server: Server) -> None:
    job = server.manager.start_put("a", "1", b"x")
    assert server.a.at_work.wait(30)
    server.manager.cancel(job.id)
    server.kill()
    server.begin()
    assert server.manager.get(job.id).state == "cancelled"


def test_what_was_never_acknowledged_is_cleared_away(server: Server) -> None:
    server.a.go.set()
    server.wait(server.manager.start_put("a", "1", b"x"))
    folder = server.files(".json")[0].parent
    server.manager.close()
    (folder / "zz.data").write_bytes(b"half")
    (folder / "zz.json.new").write_bytes(b"{")
    (folder / "broken.json").write_bytes(b"{")
    server.begin()
    assert {path.name for path in folder.iterdir()} == {
        "broken.json",
        "lock",
        f"{server.manager.list()[0].id}.json",
    }


def test_only_one_process_has_the_jobs(server: Server) -> None:
    job = server.manager.start_put("a", "1", b"x")
    second = server._new()
    try:
        for call in (lambda: second.get(job.id), lambda: second.start("duplicates", "a"), second.list):
            with pytest.raises(Problem) as caught:
                call()
            assert caught.value.code == "not_ready"
        server.manager.close(0.1)
        assert second.get(job.id).id == job.id
    finally:
        server.a.go.set()
        second.close()


def test_old_jobs_are_forgotten(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager_module, "KEEP_JOBS", 2)
    server.a.go.set()
    jobs = [server.manager.start("rebuild", "a") for _ in range(4)]
    for job in jobs[2:]:
        server.wait(job)
    server.close()
    assert [path.stem for path in server.files(".json")] == [job.id for job in jobs[2:]]
    monkeypatch.setattr(manager_module, "KEEP_DAYS", 0)
    server.begin()
    assert server.manager.list() == []


def test_jobs_that_cannot_be_read_keep_nothing_else_from_working(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.a.go.set()
    server.wait(server.manager.start("rebuild", "a"))
    server.close()
    folder = server.files(".json")[0].parent
    (folder / "lock").unlink()
    (folder / "lock").mkdir()
    server.begin()
    with pytest.raises(StoreError):
        server.manager.list()
    (folder / "lock").rmdir()
    assert len(server.manager.list()) == 1


def test_a_full_disk_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("imagefinder.server.jobs.store.os.fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        server.manager.start_put("a", "1", b"x")
    monkeypatch.undo()
    assert server.manager.list() == []
    server.a.go.set()
    assert server.wait(server.manager.start_put("a", "1", b"x")).state == "succeeded"


# events


def test_events_tell_every_change_until_the_end(server: Server) -> None:
    async def follow() -> list[Job]:
        job = await asyncio.to_thread(server.manager.start, "index", "a", csv="url,id\n")
        told = []
        async for news in server.manager.events(job.id):
            told.append(news)
            if news.progress.stage == "index":
                server.a.go.set()
        return told

    told = asyncio.run(follow())
    states = [job.state for job in told]
    assert states[-1] == "succeeded"
    assert "running" in states
    assert all(before != after for before, after in pairwise(told))
    assert told[-1].progress.added == 9


def test_progress_is_told_at_most_four_times_a_second(server: Server) -> None:
    server.a.progress_calls = 10_000

    async def follow() -> int:
        job = await asyncio.to_thread(server.manager.start, "index", "a", csv="url,id\n")
        began, told = time.monotonic(), 0
        async for news in server.manager.events(job.id):
            told += news.state == "running" and news.progress.stage == "index"
            if server.a.at_work.is_set():
                server.a.go.set()
            elif time.monotonic() - began > 20:
                break
        assert told <= 2 + 4 * (time.monotonic() - began)
        return told

    server.a.go.set()
    assert asyncio.run(follow()) >= 1


def test_watchers_are_let_go_when_the_server_stops(server: Server) -> None:
    async def follow() -> list[str]:
        job = await asyncio.to_thread(server.manager.start_put, "a", "1", b"x")
        told = []
        async for news in server.manager.events(job.id):
            told.append(news.state)
            if news.state == "running":
                server.manager.end_watching()
        assert not server.manager._entry(job.id).watchers
        return told

    assert asyncio.run(follow())[-1] == "running"
