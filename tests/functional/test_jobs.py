"""Jobs of a service in a separate process, which is killed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

import imagefinder

PICTURES = 24

# Slow each image down, so that the server can be killed in the middle of a job, also on fast machines.
START = """
import time
from imagefinder.extractors.sift import SiftExtractor
extract = SiftExtractor.extract
SiftExtractor.extract = lambda self, images: time.sleep(0.05) or extract(self, images)
from imagefinder.core.settings import Settings
from imagefinder.server.app import serve
serve(Settings.load())
"""


class Server:
    """A service with a folder in its job_roots; it can be restarted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pictures = folder / "pictures"
        self.collection = folder / "c.collection"
        self.log = ""
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        settings = {
            "IMAGEFINDER_COLLECTION": str(self.collection),
            "IMAGEFINDER_STATE": str(self.folder / "state"),
            "IMAGEFINDER_JOB_ROOTS": str(self.pictures),
            "IMAGEFINDER_MODELS": str(self.folder / "no-models"),
            "IMAGEFINDER_PORT": "0",
            "IMAGEFINDER_THREADS": "1",
            "IMAGEFINDER_BATCH_SIZE": "1",
            "HF_HOME": str(self.folder / "no-hub"),
            "HF_HUB_OFFLINE": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", START],
            env={**os.environ, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout
        lines: list[str] = []
        for line in self.process.stdout:
            lines.append(line)
            if found := re.search(r"listening on (http://\S+)", line):
                self.url = found[1]
                break
        else:
            raise AssertionError("".join(lines))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                self.log += line

    def end(self, how: signal.Signals) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)
            self._reader.join(10)

    def events(self, job: str) -> Iterator[tuple[str, dict[str, Any]]]:
        with httpx2.stream("GET", f"{self.url}/v1/jobs/{job}/events", timeout=60) as response:
            name = ""
            for line in response.iter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    yield name, json.loads(line.removeprefix("data: "))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    (server.pictures / "deep").mkdir(parents=True)
    for n in range(PICTURES):
        pixels = np.random.default_rng(n).integers(0, 255, (12, 16, 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(pixels).resize((240, 180), Image.Resampling.BICUBIC).save(out, "JPEG")
        (server.pictures / f"{'deep/' * (n % 2)}{n}.jpg").write_bytes(out.getvalue())
    (server.pictures / "broken.jpg").write_bytes(b"not an image")
    (tmp_path / "secret.jpg").write_bytes(out.getvalue())
    (server.pictures / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    server.start()
    yield server
    server.end(signal.SIGKILL)
    assert "Traceback" not in server.log, server.log


def start_job(server: Server) -> str:
    body = {"kind": "add", "folder": str(server.pictures), "methods": ["sift"]}
    response = httpx2.post(f"{server.url}/v1/jobs", json=body, timeout=30)
    assert response.status_code == 202, response.text
    return str(response.json()["id"])


def indexed(server: Server) -> set[str]:
    with imagefinder.open(server.collection) as collection:
        return {record.id for record in collection.images(limit=1000)}


def stored(server: Server, query: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(server.folder / "state" / "server.sqlite")) as database:
        return [value for (value,) in database.execute(query)]


def test_a_job_continues_after_the_server_was_killed(server: Server) -> None:
    job = start_job(server)
    for name, told in server.events(job):
        assert name == "progress", "over before it could be killed"
        if told["progress"]["added"] >= 3:
            break
    server.end(signal.SIGKILL)
    before = indexed(server)
    assert 3 <= len(before) < PICTURES
    server.start()
    told = [(name, told) for name, told in server.events(job)]
    name, last = told[-1]
    assert name == "end"
    assert last["state"] == "succeeded", last
    assert last["result"]["unchanged"] >= len(before)
    assert last["progress"]["added"] + last["progress"]["skipped"] == PICTURES
    assert [failure["id"] for failure in last["failures"]] == ["broken.jpg"]
    assert str(server.folder) not in json.dumps(last)
    assert indexed(server) == {f"{'deep/' * (n % 2)}{n}.jpg" for n in range(PICTURES)}
    assert httpx2.get(f"{server.url}/v1/jobs", timeout=60).json()["jobs"] == [last]


def test_acknowledged_images_survive_a_kill(server: Server) -> None:
    pictures = sorted(server.pictures.glob("*.jpg"))[:10]
    jobs = []
    with httpx2.Client(base_url=f"{server.url}/v1", timeout=30) as client:
        for picture in pictures:
            answer = client.put(
                f"/collections/default/images/{picture.name}",
                params={"wait": "false", "metadata": json.dumps({"from": picture.name})},
                content=picture.read_bytes(),
                headers={"Content-Type": "application/octet-stream"},
            )
            assert answer.status_code == 202, answer.text
            jobs.append(answer.json()["id"])
    server.end(signal.SIGKILL)
    server.start()
    states = {job: list(server.events(job))[-1][1]["state"] for job in jobs}
    good = [picture.name for picture in pictures if picture.name != "broken.jpg"]
    assert list(states.values()).count("succeeded") == len(good)
    with imagefinder.open(server.collection) as collection:
        records = collection.images(limit=1000)
    assert {record.id: record.metadata for record in records} == {name: {"from": name} for name in good}
    assert stored(server, "SELECT count(*) FROM uploads") == [0]


def test_a_shutdown_ends_watchers_and_jobs_continue_later(server: Server) -> None:
    job = start_job(server)
    seen: list[dict[str, Any]] = []

    def watch() -> None:
        seen.extend(told for _, told in server.events(job))

    watcher = threading.Thread(target=watch)
    watcher.start()
    end = time.monotonic() + 120
    while not any(told["progress"]["added"] for told in seen) and time.monotonic() < end:
        time.sleep(0.01)
    began = time.monotonic()
    server.end(signal.SIGTERM)
    watcher.join(30)
    assert not watcher.is_alive()
    assert time.monotonic() - began < 20, "it waited for the watcher"
    assert seen[-1]["state"] == "running"
    assert [json.loads(job)["state"] for job in stored(server, "SELECT job FROM jobs")] == ["queued"]
    server.start()
    assert list(server.events(job))[-1][1]["state"] == "succeeded"
    assert len(indexed(server)) == PICTURES


def test_watchers_that_disconnect_do_no_harm(server: Server) -> None:
    job = start_job(server)
    port = int(server.url.rsplit(":", 1)[1])
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    assert list(server.events(job))[-1][1]["state"] == "succeeded"
    response = httpx2.post(f"{server.url}/v1/jobs/{job}/cancel", timeout=60)
    assert response.json()["state"] == "succeeded"
