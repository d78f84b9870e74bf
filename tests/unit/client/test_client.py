"""Requests and results of each method of the client."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from imagefinder import client as package
from imagefinder.client import (
    AccessError,
    BusyError,
    ById,
    Client,
    ConflictError,
    ConnectionFailedError,
    InvalidAnswerError,
    JobFailedError,
    NotFoundError,
    RequestError,
    ServerProblem,
    Stored,
    UnavailableError,
)
from imagefinder.core.results import Evidence, Explanation, Hit, MethodScore, SearchResult
from imagefinder.core.serialization import to_json

from .conftest import ANSWER, EVIDENCE, IMAGE, JOB, FakeService

INFO = {
    "version": "1",
    "started_at": "2026-01-01T00:00:00Z",
    "collections": ["default"],
    "default_collection": "default",
    "auth": {"required": True, "access": "read"},
    "url_queries": True,
    "job_roots": [],
    "read_only": False,
}


def test_info_and_key(new: Callable[..., Client], service: FakeService) -> None:
    service.says(INFO)
    info = new(api_key="secret").info()
    assert (info.collections, info.auth.access) == (("default",), "read")
    assert service.last_request == ("GET", "/v1/info")
    assert service.requests[0].headers["authorization"] == "Bearer secret"


def test_collections(client: Client, service: FakeService) -> None:
    one = {"name": "x", "images": 1, "failures": 0, "bytes": 9, "methods": []}
    service.says({"collections": [one]})
    service.says(one, 201)
    service.says(None, 204)
    assert client.collections()[0].name == "x"
    assert client.create_collection("a b/c").images == 1
    assert service.last_request == ("PUT", "/v1/collections/a%20b%2Fc")
    client.delete_collection("x")
    assert service.last_request == ("DELETE", "/v1/collections/x?confirm=x")


def test_images_are_paged(client: Client, service: FakeService) -> None:
    service.says({"images": [IMAGE], "next_cursor": "c1"})
    service.says({"images": [{**IMAGE, "id": "z", "uri": "http://x/z"}], "next_cursor": None})
    images = client.images("shop", filter={"k": 1}, contains="b", page_size=1)
    assert not service.requests
    first = next(images)
    assert len(service.requests) == 1
    assert (first.id, first.metadata, first.content) == ("a/b.jpg", {"k": 1}, None)
    assert dict(service.requests[0].url.params) == {"filter": '{"k": 1}', "contains": "b", "limit": "1"}
    assert [image.uri for image in images] == ["http://x/z"]
    assert service.requests[1].url.params["cursor"] == "c1"


@pytest.mark.parametrize(
    "image_id",
    ["a/b c.jpg", "ü#?%", "..", "a/../b/./c", "/a//b/", "-x", "%2e%2e/a", "a\\..\\b", "a+b&id=c", "\t\n\x7f", "é"],
)
def test_ids_survive_the_way_to_the_server(client: Client, service: FakeService, image_id: str) -> None:
    service.says(IMAGE)
    client.image(image_id)
    url = urlsplit(str(service.requests[-1].url))
    assert url.path == "/v1/collections/default/image"
    assert parse_qs(url.query, keep_blank_values=True) == {"id": [image_id]}


def test_an_empty_id_is_refused(client: Client) -> None:
    with pytest.raises(ValueError, match="empty"):
        client.image("")


def test_putting(client: Client, service: FakeService, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"image of a cat")
    for image in (tmp_path / "cat.jpg", str(tmp_path / "cat.jpg"), b"image of a cat"):
        service.says(IMAGE, 201)
        client.put("a/b.jpg", image, metadata={"k": 1})
        assert service.last_request == ("PUT", "/v1/collections/default/image?id=a%2Fb.jpg&wait=true")
        assert b"image of a cat" in service.requests[-1].content
        assert b'{"k": 1}' in service.requests[-1].content
    service.says(IMAGE)
    client.put("a", "https://x/cat.jpg", collection="shop")
    assert service.body == {"url": "https://x/cat.jpg"}
    service.says(JOB, 202)
    assert client.start_put("a", b"x").id == "j1"
    assert service.last_request[1].endswith("&wait=false")
    with pytest.raises(FileNotFoundError):
        client.put("a", tmp_path / "nothing.jpg")


def test_searching_with_a_file(client: Client, service: FakeService) -> None:
    service.says(ANSWER)
    answer = client.search(b"pixels", k=5, boxes=[(0, 0, 10, 10)], verify=False, filter={"k": 1})
    sent = service.requests[-1].content
    for part in (
        b'name="image"',
        b"pixels",
        b'name="k"\r\n\r\n5',
        b'name="box"\r\n\r\n0,0,10,10',
        b"\r\n\r\nfalse",
    ):
        assert part in sent
    assert isinstance(answer, SearchResult)
    assert (answer.decision, answer.ids, answer.query.height) == ("match", ["a/b.jpg"], 6)  # type: ignore[union-attr]
    hit = answer.hits[0]
    assert isinstance(hit, Hit)
    assert hit.methods == {"sift": MethodScore(9.0, 0.001)}
    assert hit.evidence is not None
    assert to_json(hit.evidence) == EVIDENCE
    assert hit.evidence.placement == "part of"
    assert hit.image is not None
    assert hit.image.id == "a/b.jpg"


def test_searching_by_url_and_id(client: Client, service: FakeService) -> None:
    service.says(ANSWER)
    client.search("http://x/cat.jpg", method="sift", max_evalue=0.01)
    assert service.body == {"url": "http://x/cat.jpg", "method": "sift", "max_evalue": 0.01}
    service.says(ANSWER)
    client.search(ById("a"), collection="shop", boxes=[(1, 2, 3, 4)])
    assert service.body == {"id": "a", "boxes": [[1, 2, 3, 4]]}
    assert service.last_request == ("POST", "/v1/collections/shop/search")


def test_searching_with_words(client: Client, service: FakeService) -> None:
    service.says(ANSWER)
    client.search(text="coffee cup", k=5)
    assert service.body == {"text": "coffee cup", "k": 5}
    service.says(ANSWER)
    client.search(ById("a"), text="coffee cup")
    assert service.body == {"id": "a", "text": "coffee cup"}
    service.says(ANSWER)
    client.search(b"pixels", text="coffee cup")
    assert b'name="text"\r\n\r\ncoffee cup' in service.requests[-1].content
    with pytest.raises(ValueError, match="single query"):
        client.search([b"one", b"two"], text="coffee cup")


def test_labels_of_an_image(client: Client, service: FakeService) -> None:
    service.says({**IMAGE, "labels": [{"name": "espresso", "probability": 0.9}]})
    assert client.image("a", labels=True).labels[0].name == "espresso"
    assert "labels=true" in str(service.requests[-1].url)


def test_several_queries_return_answers_or_problems(client: Client, service: FakeService) -> None:
    service.says({"results": [ANSWER, {"problem": {"code": "not_an_image", "status": 415, "detail": "D"}}]})
    first, second = client.search([b"one", ById("two")], k=1)
    assert service.body == {"queries": [{"base64": base64.b64encode(b"one").decode()}, {"id": "two"}], "k": 1}
    assert first.ids == ["a/b.jpg"]  # type: ignore[union-attr]
    assert isinstance(second, RequestError)
    assert second.code == "not_an_image"


def test_explaining(client: Client, service: FakeService) -> None:
    explanation = Explanation("a", "sift", "f", 1.0, None, 2, (((0.0, 1.0), (2.0, 3.0)),), (5, 6), (7, 8))
    service.says(json.loads(json.dumps(to_json(explanation))))
    assert client.explain("h1", "a/b", method="sift") == explanation
    assert service.last_request == ("GET", "/v1/explanations/h1/image?id=a%2Fb&method=sift")
    service.says(b"png")
    assert client.drawing("h1", "a") == b"png"
    service.says(ANSWER)
    answer = client.answer("h1")
    service.says(b"jpeg")
    assert client.query_image(answer, width=100) == b"jpeg"
    assert service.last_request == ("GET", "/v1/explanations/h1/query?width=100")
    with pytest.raises(ValueError, match="has no handle"):
        client.explain(dataclasses.replace(answer, explanations=None), "a")


def test_comparing(client: Client, service: FakeService) -> None:
    comparison = {
        "method": "sift",
        "fingerprint": "f",
        "score": 3,
        "features_a": 1,
        "features_b": 2,
        "timings": {},
    }
    service.says({**comparison, "evidence": EVIDENCE, "relation": "part of"})
    result = client.compare(b"one", b"two", method="sift")
    assert (result.score, result.relation) == (3.0, "part of")
    assert isinstance(result.evidence, Evidence)
    assert b'name="b"' in service.requests[-1].content
    service.says({**comparison, "evidence": None, "relation": None})
    client.compare(b"one", Stored("x", "shop"))
    assert service.body == {
        "a": {"base64": base64.b64encode(b"one").decode()},
        "b": {"collection": "shop", "id": "x"},
    }


def test_duplicates_are_waited_for(client: Client, service: FakeService) -> None:
    group = {"kind": "identical", "ids": ["a", "b"], "pairs": [{"a": "b", "b": "a", "relation": "identical"}]}
    page = {
        "state": "ready",
        "computed_at": "2026-01-01T00:00:00Z",
        "stale": False,
        "report": {"images": 2, "candidates": 1, "verified": 1, "methods": ["sift"], "timings": {}},
        "groups": [{**group, "images": [IMAGE, IMAGE]}],
    }
    states: list[str] = []
    for running in (True, False):
        if running:
            service.says({"state": "running", "job": JOB}, 202, retry_after="1")
        else:
            service.refuses(404, "no_duplicate_report")
            service.says(JOB, 202)
        service.tells({**JOB, "state": "running"}, {**JOB, "state": "succeeded"})
        service.says({**page, "next_cursor": "c"})
        service.says({**page, "next_cursor": None})
        found = client.duplicates(progress=lambda job: states.append(job.state))
    assert states == ["running", "succeeded"] * 2
    assert [group.ids for group in found.groups] == [("a", "b")] * 2
    assert found.groups[0].pairs[0].relation == "identical"
    assert found.report.candidates == 1


# jobs


def test_starting_jobs(client: Client, service: FakeService) -> None:
    for start, body in (
        (lambda: client.start_add(urls=["http://x/a"]), {"kind": "add", "urls": ["http://x/a"]}),
        (
            lambda: client.start_add(csv="url,id\n", prune=True),
            {"kind": "add", "csv": "url,id\n", "prune": True},
        ),
        (
            lambda: client.start_add(folder="/f", verify_content=True, include_removed=True),
            {"kind": "add", "folder": "/f", "verify_content": True, "include_removed": True},
        ),
        (
            lambda: client.start_add(folder="/f", methods=("sift",)),
            {"kind": "add", "folder": "/f", "methods": ["sift"]},
        ),
        (client.start_duplicates, {"kind": "duplicates"}),
        (client.start_build_index, {"kind": "build-index"}),
    ):
        service.says(JOB, 202)
        assert start().state == "queued"
        assert service.last_request == ("POST", "/v1/jobs")
        assert service.body == {**body, "collection": "default"}


def test_waiting_continues_after_a_broken_stream(
    client: Client, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("jobs", "async_jobs"):
        monkeypatch.setattr(f"imagefinder.client.{module}._RECONNECT_SECONDS", 0.0)
    service.says(JOB)
    job = client.job("j1")
    service.answers.append(httpx2.ConnectError("refused"))
    service.tells({**JOB, "state": "running"}, end=False)
    service.answers.append(httpx2.ReadError("broken"))
    service.tells({**JOB, "state": "running"}, {**JOB, "state": "succeeded", "result": {"added": 3}})
    states: list[str] = []
    assert job.wait(lambda changed: states.append(changed.state)).result == {"added": 3}
    assert states == ["running", "running", "succeeded"]


def test_waiting_ends_with_a_timeout_or_a_failure(client: Client, service: FakeService) -> None:
    service.says(JOB)
    job = client.job("j1")
    with pytest.raises(TimeoutError, match="queued"):
        job.wait(timeout=0)
    service.tells({**JOB, "state": "failed", "problem": {"code": "store_error", "detail": "full", "hint": "h"}})
    with pytest.raises(JobFailedError, match="full") as caught:
        job.wait()
    assert (caught.value.code, caught.value.hint, caught.value.job.state) == ("store_error", "h", "failed")
    service.tells({**JOB, "state": "cancelled"})
    with pytest.raises(JobFailedError, match="cancelled"):
        job.wait()


def test_waiting_fails_if_the_server_stays_unreachable(
    client: Client, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("jobs", "async_jobs"):
        monkeypatch.setattr(f"imagefinder.client.{module}._UNREACHABLE_SECONDS", -1.0)
    service.says(JOB)
    job = client.job("j1")
    service.answers.append(httpx2.ConnectError("refused"))
    with pytest.raises(ConnectionFailedError):
        job.wait()


def test_jobs_are_listed_and_cancelled(client: Client, service: FakeService) -> None:
    service.says({"jobs": [JOB], "next_cursor": "j1"})
    service.says({"jobs": [], "next_cursor": None})
    assert [job.id for job in client.jobs(state="queued")] == ["j1"]
    service.says({**JOB, "state": "cancelled"})
    assert client.cancel("j1").ended
    assert service.last_request == ("POST", "/v1/jobs/j1/cancel")


# errors


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RequestError),
        (401, AccessError),
        (403, AccessError),
        (404, NotFoundError),
        (409, ConflictError),
        (413, RequestError),
        (422, RequestError),
        (429, BusyError),
        (500, UnavailableError),
        (503, UnavailableError),
    ],
)
def test_problems(client: Client, service: FakeService, status: int, kind: type[ServerProblem]) -> None:
    service.refuses(status, "some_code")
    with pytest.raises(kind) as caught:
        client.info()
    error = caught.value
    assert (error.code, error.status, error.message, error.hint) == ("some_code", status, "D", "H")
    assert (error.retryable, error.field, error.request_id, error.title) == (False, "k", "r1", "T")
    assert len(service.requests) == 1


def test_only_retryable_requests_are_retried_after_the_stated_delay(
    new: Callable[..., Client], service: FakeService
) -> None:
    client = new(retries=2)
    service.refuses(429, "busy", retryable=True, retry_after="0")
    service.refuses(503, "not_ready", retryable=True, retry_after="0")
    service.says(INFO)
    assert client.info().version == "1"
    for _ in range(3):
        service.refuses(429, "busy", retryable=True, retry_after="0")
    with pytest.raises(BusyError):
        client.info()
    for retryable, wait in ((False, "0"), (True, ""), (True, "9999"), (True, "Wed, 21 Oct 2026 07:28:00 GMT")):
        before = len(service.requests)
        service.refuses(503, "x", retryable=retryable, **({"retry_after": wait} if wait else {}))
        with pytest.raises(UnavailableError):
            client.info()
        assert len(service.requests) == before + 1
    service.answers.append(httpx2.ConnectError("refused"))
    with pytest.raises(ConnectionFailedError, match="refused"):
        client.info()


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"<html>", 200),
        (b"<html>", 502),
        (b"{}", 200),
        (b"[]", 200),
        (b"{}", 404),
        (b"[" * 100_000, 200),
        (b"", 307),
    ],
)
def test_responses_of_other_servers_are_reported(
    client: Client, service: FakeService, content: bytes, status: int
) -> None:
    service.says(content, status)
    with pytest.raises(InvalidAnswerError, match="does not belong to this API"):
        client.info()


def test_a_timeout(client: Client, service: FakeService) -> None:
    service.answers.append(httpx2.ReadTimeout("slow"))
    with pytest.raises(ConnectionFailedError) as caught:
        client.info()
    assert (caught.value.code, caught.value.retryable) == ("timeout", True)


def test_an_invalid_base_url() -> None:
    with pytest.raises(package.ClientError), Client("no address") as client:
        client.info()


def test_all_public_names_exist() -> None:
    for name in package.__all__:
        assert getattr(package, name).__doc__
