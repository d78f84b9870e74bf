"""Keys of a running server: event streams of one client, revocation, and invalid keys."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from service import Service

import imagefinder
from imagefinder.server.keys.folders import FolderKeys
from imagefinder.server.streams import MAX_STREAMS_PER_CLIENT

PICTURES = Path(__file__).parents[2] / "examples" / "pictures"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with imagefinder.open(tmp_path / "default") as collection:
        collection.add(PICTURES / "coins.jpg", methods=["sift"])
    return tmp_path


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that never answers, so that a job which downloads from it does not end."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def open_stream(service: Service, job: str, secret: str) -> socket.socket:
    at = urlsplit(service.url)
    connection = socket.create_connection((at.hostname or "", at.port or 0), timeout=30)
    head = f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {secret}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def test_streams_are_limited_and_end_with_their_key(folder: Path, silent: str) -> None:
    with FolderKeys(folder / "state") as keys:
        writer, reader = keys.create("writer", "write"), keys.create("reader", "read")
    with (
        Service(folder, auth="on", fetch_private="true", url_seconds="60") as service,
        httpx2.Client(base_url=service.url, timeout=60, headers={"X-Api-Key": reader}) as client,
        ExitStack() as stack,
    ):
        body = {"kind": "add", "urls": [f"{silent}/{n}.jpg" for n in range(20)], "methods": ["sift"]}
        started = client.post("/v1/jobs", json=body, headers={"X-Api-Key": writer})
        assert started.status_code == 202, started.text
        job = started.json()["id"]
        count = MAX_STREAMS_PER_CLIENT + 20
        opened = [stack.enter_context(open_stream(service, job, writer)) for _ in range(count)]
        statuses = [connection.recv(4000)[9:12] for connection in opened]
        assert Counter(statuses) == {b"200": MAX_STREAMS_PER_CLIENT, b"429": 20}
        other = stack.enter_context(open_stream(service, job, reader))  # another client has a share of its own
        assert other.recv(4000)[9:12] == b"200"
        opened[0].close()
        wait_for(lambda: is_open(service, job, writer))  # a closed stream is released
        with FolderKeys(folder / "state") as keys:
            keys.revoke("writer")
        streams = [connection for connection, status in zip(opened, statuses, strict=True) if status == b"200"][1:]
        began = time.monotonic()
        for connection in streams:
            while connection.recv(65536):
                assert time.monotonic() - began < 10
        assert client.get("/v1/limits", headers={"X-Api-Key": writer}).json()["code"] == "wrong_key"
        assert client.get(f"/v1/jobs/{job}").json()["state"] == "running"  # it was accepted, and continues
        service.process.kill()
    assert "Traceback" not in "".join(service.lines)


def is_open(service: Service, job: str, secret: str) -> bool:
    with open_stream(service, job, secret) as connection:
        return connection.recv(4000)[9:12] == b"200"


def wait_for(condition: object, seconds: float = 10.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_secrets_are_neither_logged_nor_reported(folder: Path) -> None:
    with FolderKeys(folder / "state") as keys:
        secret = keys.create("writer", "write")
    with (
        Service(folder, auth="on") as service,
        httpx2.Client(base_url=service.url, timeout=60, headers={"X-Api-Key": secret}) as client,
    ):
        answers = [
            client.get("/v1/info"),
            client.get("/metrics"),
            client.get("/v1/limits", headers={"X-Api-Key": "if_wrong_secret"}),
            client.get("/v1/limits", params={"key": "if_secret_in_url"}),
            client.get("/health"),
        ]
        texts = [answer.text for answer in answers]
        assert "writer" not in answers[1].text
    log = "".join(service.lines)
    for text in (*texts, log):
        for hidden in (secret, "if_wrong_secret", "if_secret_in_url", str(folder / "state")):
            assert hidden not in text
    assert "key=writer" in log
