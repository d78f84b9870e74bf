"""The work and the outcome of each kind of job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from imagefinder.core.errors import DamagedImageError, StoreError
from imagefinder.core.job_records import MAX_TRIES
from imagefinder.core.jobs import JobFailure, JobProblem

Server = Any  # of conftest.py


def test_a_csv_list_is_added(server: Server) -> None:
    server.a.go.set()
    server.a.failures = 120
    job = server.manager.start("add", "a", csv="url,id\nhttp://x/a,1\n", methods=["sift"], prune=True)
    assert (job.kind, job.collection, job.state) == ("add", "a", "queued")
    done = server.wait(job)
    assert done.state == "succeeded"
    assert done.result is not None
    assert (done.result["added"], done.result["failed"]) == (9, 120)
    assert done.failures[0] == JobFailure("0", "", "damaged_image", "bad")
    assert len(done.failures) == 100
    ((verb, (path,), methods, prune),) = server.a.calls
    assert (verb, methods, prune) == ("add", ["sift"], True)
    assert (done.progress.stage, done.progress.done, done.progress.total) == ("calibrate", 50, 100)
    assert (done.progress.added, done.progress.failed) == (9, 0)
    assert Path(path).read_text() == "url,id\nhttp://x/a,1\n"
    assert server.a.guards[0].local_files is False
    assert server.uploads() == []


def test_all_lists_of_a_collection_are_one_source(server: Server) -> None:
    server.a.go.set(), server.b.go.set()
    for name in ("a", "a", "b"):
        server.wait(server.manager.start("add", name, csv="url,id\n"))
    first, second = [call[1] for call in server.a.calls if call[0] == "add"]
    assert first == second != server.b.calls[0][1]


def test_a_failed_job_reports_its_error(server: Server) -> None:
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


def test_the_duplicate_report_is_stored_in_the_collection(server: Server) -> None:
    server.a.go.set()
    done = server.wait(server.manager.start("duplicates", "a"))
    assert done.result is not None
    assert (done.result["groups"], done.result["candidates"]) == (0, 3)
    content = json.loads(server.a.derived["duplicates.json"])
    assert content["report"]["candidates"] == 3
    assert content["state"] == {"images": 7, "methods": {}}
    assert content["computed_at"].endswith("Z")


def test_an_index_is_rebuilt(server: Server) -> None:
    done = server.wait(server.manager.start("build-index", "a"))
    assert (done.state, done.progress.stage) == ("succeeded", "sift")
    assert done.result
    assert server.a.calls == [("build-index",)]


def test_a_job_with_progress_after_each_crash_does_not_fail(server: Server) -> None:
    job = server.manager.start("add", "a", csv="url,id\n")
    for _ in range(MAX_TRIES + 2):
        server.crash(job)
        server.begin()
    server.a.go.set()
    assert server.wait(job).state == "succeeded"
