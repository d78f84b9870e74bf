"""A client of a fake service."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from blocking_client import BlockingClient

from imagefinder.client import Client

IMAGE = {
    "id": "a/b.jpg",
    "sha256": "00",
    "size_bytes": 1,
    "width": 2,
    "height": 3,
    "format": "JPEG",
    "metadata": {"k": 1},
    "added_at": "2026-01-01T00:00:00Z",
    "thumbnail": "/v1/collections/default/thumbnails/a/b.jpg",
    "content": None,
}
EVIDENCE = {
    "inliers": 9,
    "matches": 10,
    "model": "affine",
    "transform": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "mirrored": False,
    "query_outline": [[0, 0], [1, 0], [1, 1], [0, 1]],
    "candidate_outline": [[0, 0], [1, 0], [1, 1], [0, 1]],
    "query_overlap": 1,
    "candidate_overlap": 0.5,
    "found_by": "keypoints",
    "method": "sift",
    "log10_chance": -20.5,
    "agreement": None,
    "copy_distance": None,
}
ANSWER = {
    "method": "auto",
    "mode": "exact",
    "fingerprints": {"sift": "f"},
    "searched": 7,
    "ranking": "evidence",
    "verified": 1,
    "boxes": [[0, 0, 10, 10]],
    "decision": "match",
    "timings": {"total": 1},
    "hits": [
        {
            "rank": 1,
            "id": "a/b.jpg",
            "score": 20.5,
            "evalue": 1e-9,
            "decision": "match",
            "relation": "edited copy",
            "evidence": EVIDENCE,
            "methods": {"sift": {"score": 9, "evalue": 0.001}},
            "image": IMAGE,
            "thumbnail": "/v1/t",
            "explanation": "/v1/e",
            "drawing": "/v1/p",
            "picture": "/v1/p",
        }
    ],
    "collection": "default",
    "query": {"width": 5, "height": 6, "sha256": "11", "id": None},
    "explanations": {"handle": "h1", "expires_at": "2026-01-01T01:00:00Z"},
    "something_new": 1,
}
JOB = {
    "id": "j1",
    "kind": "add",
    "collection": "default",
    "state": "queued",
    "created_at": "2026-01-01T00:00:00.000Z",
    "started_at": None,
    "finished_at": None,
    "progress": {"stage": "", "done": 0, "total": None, "added": 0, "skipped": 0, "failed": 0},
    "failures": [],
    "result": None,
    "problem": None,
}


class FakeService:
    """Answers requests with ``answers`` in turn, and records the requests."""

    def __init__(self) -> None:
        self.answers: list[httpx2.Response | Exception] = []
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def says(self, content: Any = None, status: int = 200, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(content, bytes):
            self.answers.append(httpx2.Response(status, content=content, headers=named))
        elif content is None:
            self.answers.append(httpx2.Response(status, headers=named))
        else:
            self.answers.append(httpx2.Response(status, json=content, headers=named))

    def refuses(self, status: int, code: str, *, retryable: bool = False, **headers: str) -> None:
        problem = {
            "title": "T",
            "status": status,
            "detail": "D",
            "code": code,
            "retryable": retryable,
            "hint": "H",
        }
        content = json.dumps({**problem, "field": "k", "request_id": "r1"}).encode()
        self.says(content, status, content_type="application/problem+json", **headers)

    def tells(self, *jobs: dict[str, Any], end: bool = True) -> None:
        blocks = [": nothing new\n\n"]
        blocks += [f"event: progress\ndata: {json.dumps(job)}\n\n" for job in jobs]
        blocks += [f"event: end\ndata: {json.dumps(jobs[-1])}\n\n"] if end else []
        self.says("".join(blocks).encode(), content_type="text/event-stream")

    @property
    def last_request(self) -> tuple[str, str]:
        """HTTP method and target of the last request."""
        last = self.requests[-1]
        return last.method, last.url.raw_path.decode()

    @property
    def body(self) -> Any:
        """JSON body of the last request."""
        return json.loads(self.requests[-1].content)


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture(params=[Client, BlockingClient], ids=["sync", "async"])
def new(service: FakeService, request: pytest.FixtureRequest) -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(**options: Any) -> Client:
        made.append(request.param("http://server:5000", transport=httpx2.MockTransport(service), **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(new: Callable[..., Client]) -> Client:
    return new()
