"""Scheduling, refusal, cancellation and removal of jobs."""

from __future__ import annotations

import time
from typing import Any

import pytest

from imagefinder.core.errors import QueueFullError, StoreError
from imagefinder.server import request_context
from imagefinder.server.errors import problem_of
from imagefinder.server.jobs import queue as queue_module
from imagefinder.server.jobs.store import JobStore
from imagefinder.server.request_context import Caller, RequestContext

Server = Any  # of conftest.py


def test_jobs_of_a_collection_run_in_sequence_and_of_others_in_parallel(server: Server) -> None:
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


def test_a_full_queue_refuses_jobs(server: Server) -> None:
    first = server.manager.start_put("a", "1", b"x")
    server.wait(first, "running")
    for n in range(5):
        server.manager.start_put("a", str(n), b"x")
    with pytest.raises(QueueFullError) as caught:
        server.manager.start_put("a", "no", b"x")
    assert problem_of(caught.value).headers == {"Retry-After": "10"}
    assert len(server.stored()) == 6
    assert (server.manager.count("running"), server.manager.count("queued")) == (1, 5)


def test_cancelling(server: Server) -> None:
    running, queued = server.manager.start("add", "a", csv="url,id\n"), server.manager.start("duplicates", "a")
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


def test_a_job_that_may_have_crashed_the_server_runs_alone(server: Server) -> None:
    suspect = server.manager.start_put("a", "1", b"x")
    server.crash(suspect)
    server.begin()
    server.wait(suspect, "running")
    other = server.manager.start_put("b", "1", b"x")
    time.sleep(0.1)
    assert server.manager.get(other.id).state == "queued"
    server.a.go.set(), server.b.go.set()
    server.wait(suspect), server.wait(other)


def test_old_jobs_are_removed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "MAX_ENDED_JOBS", 2)
    server.a.go.set()
    jobs = [server.manager.start("build-index", "a") for _ in range(4)]
    for job in jobs[2:]:
        server.wait(job)
    server.close()
    assert [record.job.id for record in server.stored()] == [job.id for job in jobs[2:]]
    monkeypatch.setattr(queue_module, "MAX_ENDED_DAYS", 0)
    server.begin()
    assert server.manager.list() == []


def test_a_job_that_cannot_be_stored_is_not_queued(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StoreError("No space left")

    with monkeypatch.context() as disk:
        disk.setattr(JobStore, "add", full)
        for _ in range(6):  # a failed job occupies no place in the queue of 5
            with pytest.raises(StoreError, match="No space left"):
                server.manager.start_put("a", "1", b"x")
    assert server.manager.list() == []
    server.a.go.set()
    assert server.wait(server.manager.start_put("a", "1", b"x")).state == "succeeded"


def test_the_end_of_an_abandoned_job_is_not_stored(server: Server) -> None:
    job = server.manager.start_put("a", "1", b"x")  # cannot be interrupted
    server.wait(job, "running")
    server.manager.close(0.05)
    next_server = server.store()
    assert next_server.acquire()
    before = next_server.load()
    assert (before[0].job.state, before[0].tries) == ("queued", 0)
    server.a.go.set()
    server.manager.close(5)
    assert server.a.calls
    assert next_server.load() == before
    assert next_server.upload(job.id) == b"x"
    next_server.release()


def test_one_client_cannot_fill_the_queue(server: Server) -> None:
    def start(client: str) -> None:
        context = RequestContext(caller=Caller(key=client))
        token = request_context.current.set(context)
        try:
            server.manager.start("build-index", "a")
        finally:
            request_context.current.reset(token)

    server.wait(server.manager.start_put("a", "1", b"x"), "running")
    for _ in range(2):  # half of the queue of 5
        start("first")
    with pytest.raises(QueueFullError, match="this client has 2 jobs in the queue") as caught:
        start("first")
    problem = problem_of(caught.value)
    assert (problem.code, problem.headers["Retry-After"], problem.members["limit"]) == ("busy", "10", 2)
    for _ in range(2):
        start("second")
    start("third")
    with pytest.raises(QueueFullError, match="the job queue is full"):
        start("fourth")
