from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.testclient import TestClient

from imagefinder.core.settings import Settings
from imagefinder.server import upload
from imagefinder.server.app import create_app
from imagefinder.server.errors import Problem

LIMIT = 100_000
TYPE = {"content-type": "multipart/form-data; boundary=xyz"}


def part(
    name: str | None = "image",
    filename: str | None = "a.jpg",
    data: bytes = b"image bytes",
    *,
    media_type: str = "image/jpeg",
) -> bytes:
    head = b"--xyz\r\nContent-Disposition: form-data"
    if name is not None:
        head += f'; name="{name}"'.encode()
    if filename is not None:
        head += f'; filename="{filename}"'.encode()
    return head + f"\r\nContent-Type: {media_type}\r\n\r\n".encode() + data + b"\r\n"


END = b"--xyz--\r\n"


def post(client: TestClient, body: bytes | Iterator[bytes], headers: dict[str, str] | None = None) -> Any:
    return client.post("/sift-similar-images", content=body, headers=TYPE if headers is None else headers)


def test_the_file_is_received_unchanged(client: TestClient, fake: Any) -> None:
    data = random.Random(1).randbytes(90_000) + b"\r\n--xy\r\n--xyz\r--\n"
    assert post(client, part(data=data.replace(b"\r\n--xyz", b"")) + END).status_code == 200
    assert fake.queries[0][0] == data.replace(b"\r\n--xyz", b"")


def test_other_fields_are_ignored(client: TestClient, fake: Any) -> None:
    body = part("note", None, b"hello") + part(data=b"the image") + part("other", "b.jpg", b"x" * 9000) + END
    assert post(client, body).status_code == 200
    assert fake.queries[0][0] == b"the image"


@pytest.mark.parametrize(
    ("body", "headers", "status", "code", "words"),
    [
        (b"", {}, 400, "missing_image", "no body"),
        (b"", TYPE, 400, "missing_image", "empty"),
        (END, TYPE, 400, "missing_image", "in the form: none"),
        (part("photo") + END, TYPE, 400, "missing_image", "'photo'"),
        (part("Image") + END, TYPE, 400, "missing_image", "'Image'"),
        (part(None) + END, TYPE, 400, "missing_image", "no file field 'image'"),
        (part(filename="", data=b"") + END, TYPE, 400, "missing_image", "no file chosen"),
        (part(filename=None, media_type="text/plain") + END, TYPE, 400, "not_a_file", "text"),
        (part() + part() + END, TYPE, 400, "several_images", "2 files"),
        (part(), TYPE, 400, "malformed_form", "closing boundary"),
        (part()[:-9], TYPE, 400, "malformed_form", "closing boundary"),
        (b"nonsense", TYPE, 400, "malformed_form", "cannot be parsed"),
        (part() + END, {"content-type": "multipart/form-data"}, 400, "malformed_form", "oundary"),
        (part() + END, {"content-type": "multipart/form-data; boundary=other"}, 400, "malformed_form", "form"),
        (part("f") * 17 + END, TYPE, 400, "malformed_form", "16 parts"),
        (b"--xyz\r\n" + b"A: b\r\n" * 99 + b"\r\n" + END, TYPE, 400, "malformed_form", "cannot be parsed"),
        (b"--xyz\r\nA: " + b"b" * 99_999, TYPE, 400, "malformed_form", "cannot be parsed"),
        (part() + END, {}, 415, "unsupported_media_type", "no Content-Type"),
        (b"\xff\xd8\xff", {"content-type": "image/jpeg"}, 415, "unsupported_media_type", "image/jpeg"),
        (b"image=1", {"content-type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type", "form"),
        (b"{}", {"content-type": "application/json"}, 415, "unsupported_media_type", "application/json"),
        (part(data=b"x" * (LIMIT + 1)) + END, TYPE, 413, "image_too_large", "100,000"),
        (
            b"x" * (LIMIT + upload.FORM_OVERHEAD + 1),
            TYPE,
            413,
            "image_too_large",
            "the limit for images is 100,000",
        ),
    ],
)
def test_a_bad_form_is_refused_with_the_reason(
    client: TestClient, fake: Any, body: bytes, headers: dict[str, str], status: int, code: str, words: str
) -> None:
    response = post(client, body, headers)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (status, code), problem
    assert words in problem["detail"]
    assert not fake.queries


def test_a_file_of_the_largest_size_is_accepted(client: TestClient, fake: Any) -> None:
    assert post(client, part(data=b"x" * LIMIT) + END).status_code == 200
    assert len(fake.queries[0][0]) == LIMIT


def test_too_large_reports_the_limit(client: TestClient) -> None:
    problem = post(client, part(data=b"x" * (LIMIT + 1)) + END).json()
    assert (problem["limit"], problem["unit"], problem["field"]) == (LIMIT, "bytes", "image")


@pytest.mark.parametrize("name", ["image", "other"])
def test_a_stream_without_length_is_stopped_at_the_limit(name: str) -> None:
    taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        body = part(name, "a.jpg", b"x" * 1000)[:-2] if taken == 1 else b"x" * 1000
        return {"type": "http.request", "body": body, "more_body": True}

    with pytest.raises(Problem) as caught:
        _read(receive)
    assert caught.value.code == "image_too_large"
    assert taken < (LIMIT + upload.FORM_OVERHEAD) / 1000 + 3


def test_an_idle_upload_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "IDLE_SECONDS", 0.05)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(10)
        return {}

    with pytest.raises(Problem) as caught:
        _read(receive)
    assert caught.value.code == "upload_timeout"
    assert caught.value.headers["Connection"] == "close"


def test_a_slow_upload_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "UPLOAD_SECONDS", 0.2)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"\r\n", "more_body": True}

    with pytest.raises(Problem) as caught:
        _read(receive)
    assert caught.value.code == "upload_timeout"


def test_kept_memory_is_reserved() -> None:
    messages = iter(
        [
            {"type": "http.request", "body": part(data=b"12345") + part("other", data=b"123"), "more_body": True},
            {"type": "http.request", "body": END, "more_body": False},
        ]
    )
    reserved: list[int] = []

    async def receive() -> dict[str, Any]:
        return next(messages)

    assert _read(receive, reserved.append) == b"12345"
    assert sum(reserved) == 5


def test_uploads_share_a_budget(fake: Any) -> None:
    # The budget is released after each request, and is never smaller than the largest image.
    fake.settings = Settings(max_upload_bytes=1, max_image_bytes=LIMIT)
    with TestClient(create_app(fake)) as client:
        for _ in range(3):
            assert post(client, part(data=b"x" * LIMIT) + END).status_code == 200


def test_slow_uploads_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "IDLE_SECONDS", 0.4)
    taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        await asyncio.sleep(0.05)  # never idle, but 20 bytes per second
        return {"type": "http.request", "body": b"x", "more_body": True}

    with pytest.raises(Problem, match=f"less than {upload.MIN_RATE:,} bytes per second") as caught:
        _read(receive)
    assert caught.value.code == "upload_timeout"
    assert taken < 12


def test_compressed_bodies_are_refused(client: TestClient) -> None:
    response = post(client, part() + END, {**TYPE, "content-encoding": "gzip"})
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")
    assert "gzip" in response.json()["detail"]
    assert post(client, part() + END, {**TYPE, "content-encoding": "identity"}).status_code == 200


def test_text_fields_of_a_form_are_bounded() -> None:
    reserved: list[int] = []
    text = part("filter", filename=None, data=b"[" * (upload.MAX_TEXT_BYTES + 1))
    messages = iter([{"type": "http.request", "body": part() + text + END, "more_body": False}])

    async def receive() -> dict[str, Any]:
        return next(messages)

    headers = [(name.encode(), value.encode()) for name, value in TYPE.items()]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    with pytest.raises(Problem, match="the text fields of the form") as caught:
        asyncio.run(
            upload.read_form(request, files={"image": 1}, max_bytes=1 << 22, reserve=reserved.append, texts=True)
        )
    assert (caught.value.code, caught.value.members["limit"]) == ("request_too_large", upload.MAX_TEXT_BYTES)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    pieces=st.lists(
        st.sampled_from(
            [part(), part("x"), part(filename=None), END, b"--xyz", b"\r\n", b"--", b": ", b"\x00", b"a" * 50]
        )
        | st.binary(max_size=20),
        max_size=8,
    ),
    content_type=st.sampled_from(
        [
            "multipart/form-data; boundary=xyz",
            "multipart/form-data; boundary=",
            "multipart/form-data;;; =",
            "a/b",
            "",
        ]
    ),
)
def test_no_body_causes_an_internal_error(client: TestClient, pieces: list[bytes], content_type: str) -> None:
    response = post(client, b"".join(pieces), {"content-type": content_type})
    assert response.status_code in {200, 400, 413, 415}


def _read(receive: Callable[[], Any], reserve: Callable[[int], None] = lambda _: None) -> bytes:
    headers = [(name.encode(), value.encode()) for name, value in TYPE.items()]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    return asyncio.run(upload.read_image(request, max_bytes=LIMIT, reserve=reserve))
