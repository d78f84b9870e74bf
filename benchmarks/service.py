"""How much overhead does the service have over the library, and does it handle load?

A server process with one collection receives ``POST /sift-similar-images``:

* one client without load: the same image alternately over HTTP and in-process; the difference is the overhead of
  HTTP;
* 64 clients at once: every response is compared with the sequential one; rejected requests (429) are retried;
* many requests with small images: the server's resident memory after each tenth of them.

``SERVICE_REQUESTS`` (20000) is the number of requests of the last part. All requests stay on this machine.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import queue
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

DATASETS = Path(os.environ.get("BENCH_DATASETS", Path(__file__).parents[2] / "shared" / "data"))
CLIENTS = 64
PER_CLIENT = 10
MANY = int(os.environ.get("SERVICE_REQUESTS", "20000"))
MANY_CLIENTS = 8
BOUNDARY = "----imagefinder-benchmark"


@dataclass
class Tally:
    seconds: list[float] = field(default_factory=list)
    status: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def main() -> None:
    import imagefinder
    from benchmarks.contract import write
    from imagefinder.evaluation.datasets import read_manifest
    from imagefinder.evaluation.protocol import add_gallery

    folder = DATASETS / "copy"
    if not (folder / "manifest.json").exists():
        print(f"skipped: no manifest in {folder} (set BENCH_DATASETS)")
        return
    dataset = read_manifest(folder)
    with tempfile.TemporaryDirectory() as scratch, imagefinder.open(f"{scratch}/c") as collection:
        add_gallery(collection, dataset, ["sift"])
        images = [query.path.read_bytes() for query in dataset.queries[:40]]
        expected = [_in_process(collection, image) for image in images]
        with _server(Path(scratch)) as (port, process):
            one = _alone(collection, port, images, expected)
            crowd = _crowd(port, images, expected)
            many = _many(port, process.pid, [_small(image) for image in images], collection)
            process.send_signal(signal.SIGTERM)
            stopped = process.wait(60)
        answer = {
            "images": collection.info().images,
            "alone": one,
            "crowd": crowd | {"against_in_process": round(crowd["per_second"] * one["in_process_ms"] / 1000, 2)},
            "many": many,
            "exit_status": stopped,
        }
    write("service", answer)


def _in_process(collection, image: bytes) -> list[object]:
    result = collection.search(image, method="sift", ranking="matches", evalues=False)
    return list(result.ids)


class _server:  # noqa: N801 - used as a context manager only
    def __init__(self, scratch: Path) -> None:
        self._log = (scratch / "server.log").open("w+")
        self._command = [sys.executable, "-m", "imagefinder", "serve", "--port", "0", "-c", str(scratch / "c")]
        self._state = {"IMAGEFINDER_STATE": str(scratch / "state"), "IMAGEFINDER_LOG_FORMAT": "text"}

    def __enter__(self) -> tuple[int, subprocess.Popen[bytes]]:
        self.process = subprocess.Popen(
            self._command, stdout=self._log, stderr=self._log, env={**os.environ, **self._state}
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            found = re.search(r"http://127\.0\.0\.1:(\d+)", Path(self._log.name).read_text())
            if found and _get(int(found[1]), "/health/ready") == 200:
                return int(found[1]), self.process
            time.sleep(0.1)
        raise RuntimeError(Path(self._log.name).read_text())

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()


def _get(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def _form(image: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="q"\r\n\r\n'
    return head.encode() + image + f"\r\n--{BOUNDARY}--\r\n".encode()


def _send(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, object, float]:
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    connection.request("POST", "/sift-similar-images", body, headers)
    response = connection.getresponse()
    return response.status, json.loads(response.read()), float(response.headers.get("Retry-After", "0"))


def _alone(collection, port: int, images: list[bytes], expected: list[list[object]]) -> dict[str, float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    over_http, in_process = [], []
    for number, image in enumerate(images):
        body = _form(image)
        _send(connection, body)
        for _ in range(3):
            start = time.perf_counter()
            status, ids, _ = _send(connection, body)
            over_http.append(time.perf_counter() - start)
            assert (status, ids) == (200, expected[number])
            start = time.perf_counter()
            _in_process(collection, image)
            in_process.append(time.perf_counter() - start)
    connection.close()
    http_ms, own_ms = (statistics.median(values) * 1000 for values in (over_http, in_process))
    shares = [1 - own / both for own, both in zip(in_process, over_http, strict=True)]
    return {
        "http_ms": round(http_ms, 2),
        "in_process_ms": round(own_ms, 2),
        "share_of_http_layer": round(statistics.median(shares), 4),
    }


def _run(port: int, clients: int, tasks: list[tuple[bytes, list[object]]]) -> tuple[Tally, float]:
    """Run all tasks; rejected requests are retried after the time in Retry-After."""
    waiting: queue.SimpleQueue[tuple[bytes, list[object]] | None] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    tally = Tally()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        while not waiting.empty():
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                break
            body, expected = task
            while True:
                start = time.perf_counter()
                status, ids, retry = _send(connection, body)
                seconds = time.perf_counter() - start
                with tally.lock:
                    tally.status[status] += 1
                    if status == 200:
                        tally.seconds.append(seconds)
                        tally.wrong += ids != expected
                if status != 429:
                    break
                time.sleep(retry)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tally, time.perf_counter() - start


def _crowd(port: int, images: list[bytes], expected: list[list[object]]) -> dict[str, object]:
    requests = [(_form(image), ids) for image, ids in zip(images, expected, strict=True)]
    tally, seconds = _run(port, CLIENTS, [requests[n % len(requests)] for n in range(CLIENTS * PER_CLIENT)])
    answered = sorted(tally.seconds)
    return {
        "clients": CLIENTS,
        "requests": CLIENTS * PER_CLIENT,
        "answered": len(answered),
        "wrong": tally.wrong,
        "turned_away_and_asked_again": tally.status[429],
        "other": sum(n for status, n in tally.status.items() if status not in (200, 429)),
        "per_second": round(len(answered) / seconds, 2),
        "p50_s": round(answered[len(answered) // 2], 3),
        "p99_s": round(answered[int(len(answered) * 0.99)], 3),
    }


def _many(port: int, pid: int, images: list[bytes], collection) -> dict[str, object]:
    requests = [(_form(image), _in_process(collection, image)) for image in images]
    memory, wrong, answered, seconds = [_resident_mb(pid)], 0, 0, 0.0
    for _ in range(10):
        tally, took = _run(port, MANY_CLIENTS, [requests[n % len(requests)] for n in range(MANY // 10)])
        wrong, answered, seconds = wrong + tally.wrong, answered + len(tally.seconds), seconds + took
        memory.append(_resident_mb(pid))
        print(f"{answered} requests, {memory[-1]} MB", flush=True)
    return {
        "requests": MANY // 10 * 10,
        "answered": answered,
        "wrong": wrong,
        "per_second": round(answered / seconds, 1),
        "resident_mb": memory,
        "growth_after_the_first_tenth_mb": memory[-1] - memory[1],
    }


def _small(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((128, 128))
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def _resident_mb(pid: int) -> int:
    """Resident memory of the server and its worker processes, in MB."""
    total = 0
    for process in [pid, *_children(pid)]:
        status = Path(f"/proc/{process}/status").read_text()
        total += int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])
    return total // 1024


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if Path(f"/proc/{child}").exists()]
