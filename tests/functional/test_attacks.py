"""Attacks by one client that try to shut out the others: what they cost, and what health checks notice."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import attacks
import pytest
from service import Service

import imagefinder

SETTINGS = imagefinder.Settings(sift_max_keypoints=200)
SECONDS = 3.0
MAX_WAIT = 0.5
"""Seconds within which a health check must be answered."""

MAX_MEMORY = 400 << 20
"""Bytes by which the memory of the server may grow in all attacks together."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("attacks")
    with imagefinder.open(folder / "default", settings=SETTINGS) as collection:
        collection.add(Path(__file__).parents[2] / "examples" / "pictures", methods=["sift"])
    with Service(folder, sift_max_keypoints="200", fetch_private="true") as running:
        assert search(running).status == 200
        yield running
        problems = request(running, "GET", "/metrics").body.decode()
        assert 'code="internal_error"' not in problems
    assert "Traceback" not in "".join(running.lines), "".join(running.lines)


@dataclass
class Answer:
    status: int
    body: bytes
    seconds: float
    loop_seconds: float


def loop_seconds(service: Service) -> float:
    """Processor time of the thread of the event loop; 0 where it cannot be measured."""
    pid = service.process.pid
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return 0.0


def memory(service: Service) -> int:
    """Resident memory of the server, bytes; 0 where it cannot be measured."""
    try:
        text = Path(f"/proc/{service.process.pid}/status").read_text()
    except OSError:
        return 0
    return int(re.findall(r"VmRSS:\s+(\d+) kB", text)[0]) << 10


def request(
    service: Service, method: str, path: str, body: bytes = b"", kind: str = "", source: str = "127.0.0.1"
) -> Answer:
    """A request on a new connection."""
    at = urlsplit(service.url)
    start, before = time.monotonic(), loop_seconds(service)
    connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=60, source_address=(source, 0))
    try:
        connection.request(method, path, body, {"Content-Type": kind} if kind else {})
        response = connection.getresponse()
        data = response.read()
        return Answer(response.status, data, time.monotonic() - start, loop_seconds(service) - before)
    finally:
        connection.close()


def search(service: Service, source: str = "127.0.0.1") -> Answer:
    """A search with an uploaded image."""
    return request(service, "POST", "/sift-similar-images", attacks.image_form(), attacks.FORM, source)


def attack(service: Service, name: str, seconds: float = SECONDS) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, attacks.__file__, name, str(urlsplit(service.url).port), str(seconds)]
    return subprocess.Popen(arguments, stderr=subprocess.DEVNULL)


def check_health(answers: Sequence[Answer]) -> None:
    """Health checks were answered in time.

    Other programs on the machine delay single answers. The processor time of the event loop does not depend on
    them: a request waits at least for what the loop computes in the meantime.
    """
    assert {answer.status for answer in answers} == {200}
    assert max(answer.loop_seconds for answer in answers) < MAX_WAIT
    assert sorted(answer.seconds for answer in answers)[len(answers) // 4] < MAX_WAIT


@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_health_checks_from_the_same_address_are_answered(service: Service, name: str) -> None:
    before = memory(service)
    answers = []
    with attack(service, name) as running:
        while running.poll() is None:
            answers.append(request(service, "GET", "/health/live"))
            time.sleep(0.05)
    assert running.returncode == 0
    check_health(answers)
    assert memory(service) - before < MAX_MEMORY


@pytest.mark.skipif(sys.platform != "linux", reason="needs a second loopback address")
@pytest.mark.parametrize(
    "name", ["slow-uploads", "silent-urls", "idle-connections", "slow-headers", "unread-responses"]
)
def test_other_clients_are_served(service: Service, name: str) -> None:
    with attack(service, name, 6) as running:
        time.sleep(1.5)
        answers = [search(service, source="127.0.0.2") for _ in range(2)]
        assert running.poll() is None
        running.kill()
    assert [answer.status for answer in answers] == [200, 200], answers


@pytest.mark.skipif(sys.platform != "linux", reason="needs a second loopback address")
def test_a_client_with_a_full_queue_does_not_delay_another_one(service: Service) -> None:
    alone = search(service).seconds
    with attack(service, "searches", 20) as running:
        time.sleep(3)
        answer = search(service, source="127.0.0.2")
        assert running.poll() is None
        running.kill()
    assert answer.status == 200
    assert answer.seconds < 2 + 10 * alone, "it waits for the searches that run, not for the whole queue"


@pytest.mark.skipif(sys.platform != "linux", reason="needs a second loopback address")
@pytest.mark.parametrize("name", ["listings", "reference"])
def test_many_short_requests_of_one_client_do_not_delay_another_one(service: Service, name: str) -> None:
    path = "/v1/collections/default"
    with attack(service, name, 20) as running:
        time.sleep(2)
        answers = [request(service, "GET", path, source="127.0.0.2") for _ in range(5)]
        assert running.poll() is None
        running.kill()
    assert {answer.status for answer in answers} == {200}
    assert min(answer.seconds for answer in answers) < MAX_WAIT


def test_downloads_count_towards_the_time_limit_of_a_request(tmp_path: Path) -> None:
    with imagefinder.open(tmp_path / "default", settings=SETTINGS) as collection:
        collection.add(Path(__file__).parents[2] / "examples" / "pictures" / "coins.jpg", methods=["sift"])
    limits = {"request_seconds": "2", "url_seconds": "30", "fetch_connections": "2", "fetch_private": "true"}
    with Service(tmp_path, sift_max_keypoints="200", **limits) as service, _silent() as url:
        for body in (
            {"queries": [{"url": f"{url}/{number}"} for number in range(5)]},
            {"url": f"{url}/0"},
        ):
            answer = request(service, "POST", attacks.SEARCH, json.dumps(body).encode(), "application/json")
            problem = json.loads(answer.body)
            assert (answer.status, problem["code"]) == (503, "timed_out")
            assert "request_seconds" in problem["detail"]
            assert problem["urls"][0] == f"{url}/0"
            assert len(problem["urls"]) == len(body.get("queries", [0]))
            assert 2 <= answer.seconds < 12
    assert "Traceback" not in "".join(service.lines), "".join(service.lines)


@contextlib.contextmanager
def _silent() -> Iterator[str]:
    """The URL of a server that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
