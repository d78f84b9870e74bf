"""The service as an operator runs it: keys, limits, metrics, logs, its configuration and its end."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

SLOW = """
import sys, time
from imagefinder.collection import Collection
from imagefinder.cli.app import run
search = Collection.search
def slow(self, *arguments, **options):
    time.sleep(float(sys.argv[1]))
    return search(self, *arguments, **options)
Collection.search = slow
sys.exit(run(sys.argv[2:]))
"""


def picture() -> bytes:
    pixels = np.random.default_rng(1).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize((200, 160), Image.Resampling.BICUBIC).save(out, "JPEG")
    return out.getvalue()


class Place:
    """A folder with everything a server keeps, and commands that work on it."""

    def __init__(self, folder: Path) -> None:
        self.environment = {
            **os.environ,
            "IMAGEFINDER_COLLECTION": str(folder / "collection"),
            "IMAGEFINDER_MODELS": str(folder / "models"),
            "IMAGEFINDER_STATE": str(folder / "state"),
            "IMAGEFINDER_PORT": "0",
            "HF_HUB_OFFLINE": "1",
        }
        self.started: list[Service] = []

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "imagefinder", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def serve(self, *arguments: str, slow: float = 0.0, **settings: object) -> Service:
        names = {f"IMAGEFINDER_{name.upper()}": str(value) for name, value in settings.items()}
        code = ["-c", SLOW, str(slow)] if slow else ["-m", "imagefinder"]
        self.started.append(Service([sys.executable, *code, "serve", *arguments], {**self.environment, **names}))
        return self.started[-1]


class Service:
    """A running service; its log is read along."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = int(self.wait_for(r"listening on http://\S+:(\d+)"))
        self.url = f"http://127.0.0.1:{self.port}"

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line)

    def wait_for(self, pattern: str) -> str:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            ended = self.process.poll() is not None
            if found := re.search(pattern, "".join(self.lines)):
                return found[1] if found.groups() else found[0]
            assert not ended, "".join(self.lines)
            time.sleep(0.01)
        raise AssertionError(f"{pattern} is not in the log:\n{''.join(self.lines)}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        code = self.process.wait(60)
        self._reader.join(10)
        assert self.process.stderr
        self.process.stderr.close()
        return code


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    for service in place.started:
        if service.process.poll() is None:
            service.process.kill()
            service.ended()
        assert "Traceback" not in "".join(service.lines), "".join(service.lines)


def ask(url: str, key: str = "", data: bytes | None = None) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx2.post(
        f"{url}/sift-similar-images", files={"image": data or picture()}, headers=headers, timeout=60
    )


def test_whoever_can_reach_it_needs_a_key(place: Place) -> None:
    refused = place.command("serve", "--host", "0.0.0.0")
    assert refused.returncode == 2
    assert "imagefinder keys create" in refused.stderr
    assert "imagefinder keys create NAME --write" in refused.stderr

    reader = place.command("keys", "create", "shop").stdout.strip()
    service = place.serve("--host", "0.0.0.0", "--log-format", "json")
    assert ask(service.url).json()["code"] == "missing_key"
    assert ask(service.url, reader).json() == []
    writer = place.command("keys", "create", "editor", "--write").stdout.strip()
    assert ask(service.url, writer).json() == []
    with httpx2.Client(base_url=service.url, timeout=60) as client:
        assert client.get("/").status_code == 200
        assert client.get("/health/ready").status_code == 200
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"X-Api-Key": reader}).status_code == 200
        for key, code in ((reader, "read_only_key"), (writer, "not_found")):
            assert client.post("/v1/x", headers={"X-Api-Key": key}).json()["code"] == code
        evil = {"X-Request-Id": 'x"} {"level": "info"', "X-Api-Key": reader, "X-Forwarded-For": "6.6.6.6"}
        assert client.get("/a%0a%1b{}", headers=evil).status_code == 404
    assert place.command("keys", "revoke", "shop").returncode == 0
    assert ask(service.url, reader).json()["code"] == "wrong_key"
    assert service.stop() == 0

    records = [json.loads(line) for line in service.lines]
    assert all({"time", "level", "logger", "message"} <= set(record) for record in records)
    requests = [record for record in records if record["logger"] == "imagefinder.access"]
    assert {record["key"] for record in requests} == {"", "shop", "editor"}
    assert {record["client"] for record in requests} == {"127.0.0.1"}
    assert len({record["request_id"] for record in requests}) == len(requests)
    for secret in (reader, writer):
        assert secret not in "".join(service.lines)
    assert any(re.fullmatch(r"ready after \d+\.\d\d s", record["message"]) for record in records)


def test_more_than_it_can_do_is_turned_away_and_nothing_is_lost(place: Place) -> None:
    service = place.serve(slow=0.1, concurrent=1, queue=3)
    with ThreadPoolExecutor(24) as pool:
        answers = [pool.submit(ask, service.url) for _ in range(24)]
        assert httpx2.get(f"{service.url}/health/live", timeout=60).status_code == 200
    done = [answer.result() for answer in answers]
    assert {answer.status_code for answer in done} == {200, 429}
    for answer in done:
        if answer.status_code == 200:
            assert answer.json() == []
        else:
            assert (answer.json()["code"], answer.json()["retryable"]) == ("busy", True)
            assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert ask(service.url).status_code == 200
    numbers = httpx2.get(f"{service.url}/metrics", timeout=60).text
    counted = re.findall(r'http_requests_total\{.*route="/sift-similar-images".*\} (\S+)', numbers)
    assert sum(map(float, counted)) == 25
    assert "imagefinder_queue_inside 0.0" in numbers
    assert service.stop() == 0


def begin(service: Service) -> tuple[socket.socket, bytes]:
    """A request of which the server has all but the end, which is given back."""
    body = (
        b'--a\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n' + picture() + b"\r\n--a--\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=60)
    connection.sendall(
        b"POST /sift-similar-images HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: multipart/form-data; boundary=a\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    connection.sendall(body[:-5])
    end = time.monotonic() + 120
    while "imagefinder_queue_inside 1.0" not in httpx2.get(f"{service.url}/metrics", timeout=60).text:
        assert time.monotonic() < end
    return connection, body[-5:]


def test_at_the_end_what_is_in_flight_is_answered_and_nothing_new_is_taken(place: Place) -> None:
    service = place.serve()
    connection, rest = begin(service)
    with connection:
        service.process.send_signal(signal.SIGTERM)
        service.wait_for("Waiting for connections")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", service.port), timeout=10)
        assert service.process.poll() is None
        connection.sendall(rest)
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"[]")
    assert service.ended() == 0


def test_the_end_does_not_wait_for_ever(place: Place) -> None:
    service = place.serve(shutdown_seconds=1)
    connection, _ = begin(service)
    with connection:
        assert service.stop() == 0
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"code":"not_ready"' in answer


def test_what_cannot_be_stopped_is_left_behind_at_the_end(place: Place) -> None:
    service = place.serve(slow=3000, concurrent=1, request_seconds=0.5)
    answer = ask(service.url)
    assert (answer.status_code, answer.json()["code"]) == (503, "timed_out")
    assert "imagefinder_computing 1.0" in httpx2.get(f"{service.url}/metrics", timeout=60).text
    assert service.stop() == 0
    assert "1 requests still computing" in "".join(service.lines)


def test_print_config_is_a_file_that_serve_takes(place: Place, tmp_path: Path) -> None:
    done = place.command("--set", "queue=5", "serve", "--auth", "off", "--print-config")
    assert (done.returncode, done.stderr) == (0, "")
    values: dict[str, Any] = tomllib.loads(done.stdout)
    assert (values["queue"], values["auth"], values["port"]) == (5, "off", 0)
    (tmp_path / "server.toml").write_text(done.stdout)
    again = place.command("serve", "--config", str(tmp_path / "server.toml"), "--print-config")
    assert tomllib.loads(again.stdout) == values
