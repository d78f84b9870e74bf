from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.testclient import TestClient

from imagefinder.core.settings import Settings
from imagefinder.server import middleware
from imagefinder.server.app import create_app


@pytest.fixture
def app(fake: Any) -> Any:
    app = create_app(fake)

    @app.get("/own")
    async def own() -> Response:
        return Response("x", headers={"Content-Security-Policy": "sandbox"})

    @app.post("/body")
    async def body(request: Request) -> int:
        return len(await request.body())

    @app.get("/bug")
    async def bug() -> None:
        logging.getLogger("imagefinder.test").warning("before the bug")
        raise ZeroDivisionError("secret")

    @app.get("/events")
    async def events() -> StreamingResponse:
        async def forever() -> AsyncIterator[str]:
            while True:
                yield "data: 1\n\n"
                await asyncio.sleep(3600)

        return StreamingResponse(forever(), media_type="text/event-stream")

    @app.get("/ended")
    async def ended() -> StreamingResponse:
        async def short() -> AsyncIterator[str]:
            yield "data: 1\n\n"

        class Lingering(StreamingResponse):
            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                await super().__call__(scope, receive, send)
                await asyncio.sleep(3600)

        return Lingering(short(), media_type="text/event-stream")

    return app


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "imagefinder")
    return caplog


@pytest.mark.parametrize("path", ["/", "/docs", "/health", "/nothing", "/bug", "/openapi.json", "/docs.css"])
def test_each_response_has_the_common_headers(app: Any, path: str) -> None:
    response = TestClient(app, raise_server_exceptions=False).get(path)
    policy = response.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "same-origin"
    assert response.headers["permissions-policy"].startswith("camera=(self)")
    assert response.headers["cross-origin-resource-policy"] == "same-origin"
    assert re.fullmatch("[0-9a-f]{16}", response.headers["x-request-id"])


def test_a_response_can_override_a_common_header(app: Any) -> None:
    response = TestClient(app).get("/own")
    assert response.headers.get_list("content-security-policy") == ["sandbox"]


def test_the_request_id_is_in_response_problem_and_log(app: Any, records: pytest.LogCaptureFixture) -> None:
    client = TestClient(app, raise_server_exceptions=False)
    for path in ("/nothing", "/bug"):
        response = client.get(path, headers={"x-request-id": "mine-1"})
        assert response.headers["x-request-id"] == response.json()["request_id"] == "mine-1"
    fields = [record.fields for record in records.records if hasattr(record, "fields")]
    assert [one["request_id"] for one in fields] == ["mine-1", "mine-1"]
    made = client.get("/nothing", headers={"x-request-id": "a b"})
    assert made.json()["request_id"] == made.headers["x-request-id"] != "a b"


def test_the_access_log_is_complete_and_has_no_private_data(app: Any, records: pytest.LogCaptureFixture) -> None:
    client = TestClient(app, raise_server_exceptions=False)
    client.post("/sift-similar-images?k=2&secret=1", files={"image": b"x"})
    client.get("/secret/path")
    client.get("/bug")
    client.get("/health/live")
    lines = [record.fields for record in records.records if record.name == "imagefinder.access"]
    assert [(one["method"], one["route"], one["status"], one["code"]) for one in lines] == [
        ("POST", "/sift-similar-images", 200, ""),
        ("GET", "(none)", 404, "not_found"),
        ("GET", "/bug", 500, "internal_error"),
    ]
    for one in lines:
        assert one["ms"] >= 0
        assert one["client"] == "testclient"
        assert "secret" not in json.dumps(one)


class Talk:
    """One request to an application, at the level of ASGI."""

    def __init__(self, app: Any, path: str, method: str = "GET", *, body: bool = True) -> None:
        self.messages: list[Any] = []
        self.started = asyncio.Event()
        self._body = body
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"localhost")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    async def _receive(self) -> Any:
        if self._body:
            self._body = False
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.sleep(3600)
        raise AssertionError

    async def _send(self, message: Any) -> None:
        self.messages.append(message)
        if message["type"] == "http.response.body":
            self.started.set()


def test_event_streams_end_cleanly_at_shutdown(app: Any) -> None:
    async def talk() -> None:
        early, late = Talk(app, "/events"), None
        await asyncio.wait_for(early.started.wait(), 10)
        assert not early.task.done()
        await app.state.service.streams.end()
        late = Talk(app, "/events")
        for stream in (early, late):
            await asyncio.wait_for(stream.task, 10)
            assert stream.messages[0]["status"] == 200
            assert stream.messages[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
        plain = Talk(app, "/own")
        await asyncio.wait_for(plain.task, 10)
        assert plain.messages[0]["status"] == 200

    asyncio.run(talk())


def test_an_ended_stream_is_not_ended_again(app: Any) -> None:
    async def talk() -> None:
        stream = Talk(app, "/ended")
        while not stream.messages or stream.messages[-1].get("more_body", True):
            await asyncio.sleep(0.001)
        await app.state.service.streams.end()
        await asyncio.wait_for(stream.task, 10)
        assert [message.get("more_body") for message in stream.messages] == [None, True, False]

    asyncio.run(talk())


def test_cancelling_the_task_of_a_stream_cancels_it(app: Any) -> None:
    async def talk() -> None:
        stream = Talk(app, "/events")
        await asyncio.wait_for(stream.started.wait(), 10)
        stream.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stream.task

    asyncio.run(talk())


def test_a_client_that_stops_sending_gets_an_error(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "IDLE_SECONDS", 0.05)

    async def talk() -> None:
        slow = Talk(app, "/body", "POST", body=False)
        await asyncio.wait_for(slow.task, 10)
        assert slow.messages[0]["status"] == 408
        assert (b"connection", b"close") in slow.messages[0]["headers"]
        assert json.loads(slow.messages[1]["body"])["code"] == "upload_timeout"

    asyncio.run(talk())


def test_streamed_responses_are_not_buffered(app: Any) -> None:
    """No middleware buffers a response."""

    async def talk() -> None:
        stream = Talk(app, "/events")
        await asyncio.wait_for(stream.started.wait(), 10)
        assert [message["type"] for message in stream.messages] == ["http.response.start", "http.response.body"]
        await app.state.service.streams.end()
        await stream.task

    asyncio.run(talk())


def test_the_lifespan_opens_and_closes_the_app(fake: Any) -> None:
    fake.settings = Settings(concurrent=1)
    with TestClient(create_app(fake)) as client:
        assert client.get("/health/live").status_code == 200
    assert fake.closed
