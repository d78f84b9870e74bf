"""The job manager, across restarts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagefinder.core.errors import ImagefinderError, StoreError
from imagefinder.core.job_records import MAX_TRIES
from imagefinder.server.errors import Problem

Server = Any  # of conftest.py


def test_nothing_is_written_before_the_first_job(server: Server) -> None:
    assert server.manager.list() == []
    assert not server.state.exists()


@pytest.mark.parametrize("name", ["force_prune", "verify_content", "include_removed"])
def test_options_reach_the_collection(server: Server, name: str) -> None:
    server.a.go.set()
    server.wait(server.manager.start("add", "a", csv="url,id\n"))
    server.wait(server.manager.start("add", "a", csv="url,id\n", **{name: True}))
    names = ("force_prune", "verify_content", "include_removed")
    assert server.a.options == [(False, False, False), tuple(name == one for one in names)]


def test_only_allowed_folders_are_added(server: Server, tmp_path: Path) -> None:
    allowed, other = tmp_path / "allowed", tmp_path / "other"
    (allowed / "x").mkdir(parents=True)
    other.mkdir()
    (allowed / "out").symlink_to(other)
    server.a.go.set()
    server.wait(server.manager.start("add", "a", folder=str(allowed / "x" / ".." / "x")))
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
        with pytest.raises((Problem, ImagefinderError)) as caught:
            server.manager.start("add", "a", folder=str(folder))
        assert caught.value.code == code, folder


def test_a_put_is_on_disk_before_it_is_acknowledged(server: Server) -> None:
    job = server.manager.start_put("a", "cat", b"bytes", {"k": 1}, uri="http://x/cat")
    assert server.uploads() == [b"bytes"]
    server.a.go.set()
    assert server.wait(job).result == {"id": "cat"}
    assert server.a.calls == [("put", "cat", b"bytes", {"k": 1}, "http://x/cat")]
    assert server.uploads() == []


def test_unknown_names_are_reported(server: Server) -> None:
    for call, code in (
        (lambda: server.manager.start("duplicates", "c"), "unknown_collection"),
        (lambda: server.manager.start_put("c", "1", b"x"), "unknown_collection"),
        (lambda: server.manager.get("x"), "unknown_job"),
        (lambda: server.manager.cancel("x"), "unknown_job"),
    ):
        with pytest.raises((Problem, ImagefinderError)) as caught:
            call()
        assert caught.value.code == code
    with pytest.raises(Problem) as caught:
        server.manager.start("add", "a", urls=["http://x/a.jpg"], methods=["surf"])
    assert (caught.value.code, caught.value.members["field"]) == ("unknown_method", "methods")


def test_find_and_list(server: Server) -> None:
    assert server.manager.find("duplicates", "a") is None
    first = server.manager.start("duplicates", "a")
    second = server.manager.start("add", "a", csv="url,id\n")
    found = server.manager.find("duplicates", "a")
    assert found is not None
    assert found.id == first.id
    assert server.manager.find("duplicates", "b") is None
    assert [job.id for job in server.manager.list()] == [second.id, first.id]
    assert [job.id for job in server.manager.list(limit=1)] == [second.id]
    assert [job.id for job in server.manager.list(before=second.id)] == [first.id]
    server.wait(first, "running")
    assert [job.id for job in server.manager.list(state="queued")] == [second.id]
    assert server.manager.list(visible=lambda collection: collection == "b") == []
    server.a.go.set()
    server.wait(second)
    assert server.manager.find("duplicates", "a") is None


def test_jobs_continue_after_a_shutdown(server: Server) -> None:
    running = server.manager.start("add", "a", csv="url,id\n")
    waiting = server.manager.start_put("a", "1", b"x")
    server.wait(running, "running")
    server.manager.close(10)
    stored = server.stored()[0]
    assert (stored.job.state, stored.tries) == ("queued", 0)
    server.begin()
    server.a.go.set()
    assert server.wait(running).state == "succeeded"
    assert server.wait(waiting).state == "succeeded"
    assert [call[0] for call in server.a.calls] == ["add", "put"]


def test_jobs_continue_after_a_kill(server: Server) -> None:
    running = server.manager.start_put("a", "1", b"one")
    waiting = server.manager.start_put("a", "2", b"two", {"n": 2})
    assert server.a.at_work.wait(30)
    server.kill()
    server.begin()
    server.a.go.set()
    server.wait(running), server.wait(waiting)
    assert server.a.calls == [("put", "1", b"one", None, ""), ("put", "2", b"two", {"n": 2}, "")]


def test_a_job_that_kills_the_server_repeatedly_fails(server: Server) -> None:
    job = server.manager.start_put("a", "1", b"x")
    for _ in range(MAX_TRIES):
        server.crash(job)
        server.begin()
    ended = server.manager.get(job.id)
    assert ended.state == "failed"
    assert ended.problem is not None
    assert ended.problem.code == "job_crashed"
    assert server.a.calls == []
    server.manager.close()
    server.begin()
    assert server.manager.get(job.id) == ended
    assert server.uploads() == []


def test_a_cancellation_survives_a_crash(server: Server) -> None:
    job = server.manager.start_put("a", "1", b"x")
    assert server.a.at_work.wait(30)
    server.manager.cancel(job.id)
    server.kill()
    server.begin()
    assert server.manager.get(job.id).state == "cancelled"


def test_only_one_process_owns_the_jobs(server: Server) -> None:
    job = server.manager.start_put("a", "1", b"x")
    second = server._new()
    try:
        for call in (lambda: second.get(job.id), lambda: second.start("duplicates", "a"), second.list):
            with pytest.raises((Problem, ImagefinderError)) as caught:
                call()
            assert caught.value.code == "not_ready"
        server.manager.close(0.1)
        assert second.get(job.id).id == job.id
    finally:
        server.a.go.set()
        second.close()


def test_unreadable_jobs_do_not_block_other_work(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.a.go.set()
    server.wait(server.manager.start("build-index", "a"))
    server.close()
    (folder,) = (server.state / "jobs").iterdir()
    (folder / "lock").unlink()
    (folder / "lock").mkdir()
    server.begin()
    with pytest.raises(StoreError):
        server.manager.list()
    (folder / "lock").rmdir()
    assert len(server.manager.list()) == 1
