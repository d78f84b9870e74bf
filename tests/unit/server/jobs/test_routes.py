"""The endpoints of ``/v1/jobs``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from imagefinder.server import errors, streams
from imagefinder.server.admission import Admission
from imagefinder.server.head import HeadMiddleware
from imagefinder.server.jobs import routes
from imagefinder.server.middleware import EventStreams

Server = Any  # of conftest.py


@pytest.fixture
def client(server: Server) -> Iterator[TestClient]:
    app, admission = (
        FastAPI(middleware=[Middleware(HeadMiddleware)]),
        Admission(running=1, requests=10, max_bytes=1 << 30),
    )
    errors.install(app)
    app.state.service = SimpleNamespace(
        jobs=server.manager, admission=admission, streams=EventStreams(), block=run_in_threadpool
    )
    app.include_router(routes.router)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def started(client: TestClient, **body: Any) -> dict[str, Any]:
    response = client.post("/v1/jobs", json=body)
    assert response.status_code == 202, response.text
    job: dict[str, Any] = response.json()
    assert response.headers["location"] == f"/v1/jobs/{job['id']}"
    return job


def test_the_life_of_a_job(client: TestClient, server: Server) -> None:
    server.a.go.set()
    job = started(client, kind="add", collection="a", urls=["http://x/cat.jpg"], methods=["sift"])
    assert set(job) == {
        *("id", "kind", "collection", "state", "created_at", "started_at", "finished_at"),
        *("progress", "failures", "result", "problem"),
    }
    assert set(job["progress"]) == {"stage", "done", "total", "added", "skipped", "failed"}
    with client.stream("GET", f"/v1/jobs/{job['id']}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = [block.split("\n") for block in "".join(response.iter_text()).split("\n\n") if block]
    names = [lines[0] for lines in events]
    assert names == ["event: progress"] * (len(names) - 1) + ["event: end"]
    last = json.loads(events[-1][1].removeprefix("data: "))
    assert last["state"] == "succeeded"
    assert last == client.get(f"/v1/jobs/{job['id']}").json()
    assert server.a.calls[0] == ("add", ("http://x/cat.jpg",), ["sift"], False)


def test_head_opens_no_event_stream(client: TestClient, server: Server) -> None:
    job = started(client, kind="add", collection="a", urls=["http://x/cat.jpg"], methods=["sift"])
    head = client.head(f"/v1/jobs/{job['id']}/events")  # would not return while the job runs
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")
    assert head.headers["cache-control"] == "no-store"
    assert client.head("/v1/jobs/none/events").status_code == 404
    assert client.head(f"/v1/jobs/{job['id']}").status_code == 200
    server.a.go.set()


@pytest.mark.parametrize(
    ("former", "kind"), [({"kind": "index", "urls": ["http://x/a"]}, "add"), ({"kind": "rebuild"}, "build-index")]
)
def test_the_kinds_of_version_0_1_are_accepted(
    client: TestClient, server: Server, former: dict[str, Any], kind: str
) -> None:
    server.a.go.set()
    assert started(client, collection="a", **former)["kind"] == kind


def test_pages_of_jobs(client: TestClient, server: Server) -> None:
    ids = [started(client, kind="duplicates", collection="a")["id"] for _ in range(3)]
    seen, cursor = [], ""
    while cursor is not None:
        page = client.get("/v1/jobs", params={"limit": 2, "cursor": cursor}).json()
        seen += [job["id"] for job in page["jobs"]]
        cursor = page["next_cursor"]
    assert seen == ids[::-1]
    server.wait(server.manager.get(ids[0]), "running")
    queued = client.get("/v1/jobs", params={"state": "queued"}).json()["jobs"]
    assert [job["id"] for job in queued] == ids[:0:-1]


def test_cancelling(client: TestClient, server: Server) -> None:
    first = started(client, kind="duplicates", collection="a")
    second = started(client, kind="build-index", collection="a")
    assert client.post(f"/v1/jobs/{second['id']}/cancel").json()["state"] == "cancelled"
    assert client.post(f"/v1/jobs/{first['id']}/cancel").status_code == 200
    assert server.wait(server.manager.get(first["id"])).state == "cancelled"


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({}, 422, "invalid_parameter", "kind"),
        ([], 422, "invalid_parameter", "kind"),
        ({"kind": "dance"}, 422, "invalid_parameter", "kind"),
        ({"kind": "add", "collection": "a"}, 422, "invalid_parameter", "kind"),
        ({"kind": "add", "collection": "a", "csv": "x", "urls": ["http://x"]}, 422, "invalid_parameter", "kind"),
        ({"kind": "add", "collection": "a", "csv": 7}, 422, "invalid_parameter", "csv"),
        ({"kind": "add", "collection": "a", "csv": "\ud800"}, 422, "invalid_parameter", "csv"),
        ({"kind": "add", "collection": "a", "urls": []}, 422, "invalid_parameter", "urls"),
        ({"kind": "add", "collection": "a", "urls": ["http://x/a", 7]}, 422, "invalid_parameter", "urls.1"),
        ({"kind": "add", "collection": "a", "urls": ["/etc/passwd"]}, 422, "invalid_input", None),
        ({"kind": "add", "collection": "a", "urls": ["file:///etc/passwd"]}, 422, "invalid_input", None),
        ({"kind": "add", "collection": "a", "urls": ["http://x/a.zip"]}, 422, "invalid_input", None),
        ({"kind": "add", "collection": "a", "folder": "/etc"}, 403, "folder_not_allowed", "folder"),
        ({"kind": "add", "collection": "a", "urls": ["http://x"], "k": 1}, 422, "invalid_parameter", "k"),
        (
            {"kind": "add", "collection": "a", "urls": ["http://x"], "methods": ["s"]},
            404,
            "unknown_method",
            "methods",
        ),
        ({"kind": "duplicates", "collection": "zz"}, 404, "unknown_collection", None),
        ({"kind": "duplicates", "collection": "\ud800"}, 422, "invalid_parameter", "collection"),
        ({"kind": "put", "collection": "a"}, 422, "invalid_parameter", "kind"),
    ],
)
def test_invalid_job_requests_are_refused(
    client: TestClient, server: Server, body: Any, status: int, code: str, field: str | None
) -> None:
    response = client.post("/v1/jobs", content=json.dumps(body), headers={"Content-Type": "application/json"})
    problem = response.json()
    assert (response.status_code, problem["code"], problem.get("field")) == (status, code, field), problem
    assert response.headers["content-type"] == "application/problem+json"
    assert server.manager.list() == []


def test_invalid_json_bodies(client: TestClient) -> None:
    requests = [
        (b"{", "application/json", 400, "malformed_json"),
        (b"\xff", "application/json", 400, "malformed_json"),
        (b"[" * 100_000, "application/json", 400, "malformed_json"),
        (b"kind=index", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b" " * (routes.MAX_BODY + 1), "application/json", 413, "request_too_large"),
    ]
    for body, kind, status, code in requests:
        response = client.post("/v1/jobs", content=body, headers={"Content-Type": kind})
        assert (response.status_code, response.json()["code"]) == (status, code)


@pytest.mark.parametrize("path", ["x", "x/events", "..%2f..%2fsecret", "%00", "é"])
def test_an_unknown_job(client: TestClient, path: str) -> None:
    response = client.get(f"/v1/jobs/{path}")
    assert (response.status_code, response.json()["code"]) in ((404, "unknown_job"), (404, "not_found"))


def test_a_full_queue_reports_when_to_retry(client: TestClient, server: Server) -> None:
    server.wait(server.manager.start("duplicates", "a"), "running")
    for _ in range(5):
        started(client, kind="build-index", collection="a")
    response = client.post("/v1/jobs", json={"kind": "build-index", "collection": "a"})
    assert response.json()["code"] == "busy"
    assert response.headers["retry-after"] == "10"


def test_subfolders_of_allowed_folders(client: TestClient, server: Server, tmp_path: Path) -> None:
    (tmp_path / "allowed" / "photos").mkdir(parents=True)
    server.a.go.set()
    server.a.failures = 1
    job = started(client, kind="add", collection="a", folder=str(tmp_path / "allowed" / "photos"))
    server.wait(server.manager.get(job["id"]))
    text = client.get(f"/v1/jobs/{job['id']}").text
    assert str(tmp_path) not in text
    assert json.loads(text)["failures"][0]["uri"] == ""


def test_all_references_in_the_description_exist(client: TestClient) -> None:
    from imagefinder.server.jobs.forms import PARTS

    schema = client.get("/openapi.json").json()
    body = schema["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    refs = {item["$ref"].rsplit("/", 1)[1] for item in body["schema"]["oneOf"]}
    assert refs == set(PARTS)
    for example in body["examples"].values():
        routes._spec(example["value"])


def test_the_stream_of_a_revoked_key_ends(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(routes, "KEEP_ALIVE_SECONDS", 0.05)
    job = server.manager.start("duplicates", "a")

    answers = iter([True, True, True, True, True, False])

    async def allowed() -> bool:
        return next(answers)

    async def follow() -> list[str]:
        return [event async for event in routes._stream(server.manager.watch(job.id), allowed)]

    seen = asyncio.run(asyncio.wait_for(follow(), 10))
    assert seen[-1] == ": keep-alive\n\n"
    assert not server.manager.get(job.id).ended  # the job continues


def test_streams_of_one_client_are_limited(
    client: TestClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_STREAMS", 0)
    job = started(client, kind="duplicates", collection="a")
    response = client.get(f"/v1/jobs/{job['id']}/events")
    assert (response.status_code, response.json()["code"], response.json()["limit"]) == (429, "busy", 0)
    assert response.headers["retry-after"] == "5"
