"""How many default searches a second does the server answer, compared with the library in process?

500 images with two methods, ranked by evidence. In alternating rounds the same queries are answered by the library
(one thread, and as many threads as cores; the better one is the yardstick) and by the server for 8 clients at
once. Every response is compared with the library's. Memory is that of the server and its worker processes.

``THROUGHPUT_ROUNDS`` (3) and ``THROUGHPUT_QUERIES`` (40) set the size. All requests stay on this machine.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.service import BOUNDARY, DATASETS, _children, _form, _resident_mb, _server

METHODS = ["sift", "efficientnet-lite0"]
CLIENTS = 8
ROUNDS = int(os.environ.get("THROUGHPUT_ROUNDS", "3"))
QUERIES = int(os.environ.get("THROUGHPUT_QUERIES", "40"))
K = 10


def main() -> None:
    import imagefinder
    from benchmarks.contract import write
    from imagefinder.core.serialization import to_json
    from imagefinder.evaluation.datasets import read_manifest
    from imagefinder.evaluation.protocol import add_gallery

    folder = DATASETS / "copy"
    if not (folder / "manifest.json").exists():
        print(f"skipped: no manifest in {folder} (set BENCH_DATASETS)")
        return
    dataset = read_manifest(folder)
    with tempfile.TemporaryDirectory() as scratch, imagefinder.open(f"{scratch}/c") as collection:
        add_gallery(collection, dataset, METHODS)
        collection.calibrate()
        images = [
            query.path.read_bytes() for query in dataset.queries[:: len(dataset.queries) // QUERIES][:QUERIES]
        ]
        expected = [_numbers(to_json(collection.search(image, k=K))) for image in images]
        with _server(Path(scratch)) as (port, process):
            results = _rounds(collection, port, process.pid, images, expected)
            process.send_signal(signal.SIGTERM)
            stopped = process.wait(60)
    write("throughput", {"images": len(dataset.images), "queries": len(images), **results, "exit_status": stopped})


def _rounds(collection, port: int, pid: int, images: list[bytes], expected: list[object]) -> dict[str, object]:
    cores = len(os.sched_getaffinity(0))
    rates: dict[str, list[float]] = {"library, 1 thread": [], f"library, {cores} threads": [], "server": []}
    alone, crowd, cpu, memory, wrong = [], [], [], [], 0
    _ask(port, images, expected, 1)
    for number in range(ROUNDS):
        for threads in (1, cores):
            start = time.perf_counter()
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda image: collection.search(image, k=K), images))
            name = f"library, {threads} thread{'s' if threads > 1 else ''}"
            rates[name].append(len(images) / (time.perf_counter() - start))
        single, _, bad = _ask(port, images, expected, 1)
        wrong += bad
        alone += single
        before = _cpu_seconds(pid)
        times, seconds, bad = _ask(port, images * 2, expected * 2, CLIENTS)
        cpu.append((_cpu_seconds(pid) - before) / len(times))
        wrong += bad
        crowd += times
        rates["server"].append(len(times) / seconds)
        memory.append(_resident_mb(pid))
        print(
            f"round {number + 1}: " + ", ".join(f"{name} {rate[-1]:.2f}/s" for name, rate in rates.items()),
            flush=True,
        )
    best = [max(rates["library, 1 thread"][n], rates[f"library, {cores} threads"][n]) for n in range(ROUNDS)]
    crowd.sort()
    p50_alone = statistics.median(alone)
    p95 = crowd[int(len(crowd) * 0.95)]
    return {
        "clients": CLIENTS,
        "per_second": {name: round(statistics.median(rate), 2) for name, rate in rates.items()},
        "server_against_library": round(
            statistics.median([s / b for s, b in zip(rates["server"], best, strict=True)]), 3
        ),
        "alone_p50_ms": round(1000 * p50_alone),
        "p50_ms": round(1000 * statistics.median(crowd)),
        "p95_ms": round(1000 * p95),
        "p95_against_alone": round(p95 / p50_alone, 2),
        "server_cpu_ms_per_search": round(1000 * statistics.median(cpu)),
        "resident_mb_after_each_round": memory,
        "threads": len(list(Path(f"/proc/{pid}/task").iterdir())),
        "wrong": wrong,
    }


def _numbers(answer: dict[str, object]) -> list[object]:
    return [(hit["id"], hit["decision"], hit["evalue"]) for hit in answer["hits"]]


def _ask(port: int, images: list[bytes], expected: list[object], clients: int) -> tuple[list[float], float, int]:
    """Seconds of each search, seconds of all, and number of responses that differ from the library's."""
    waiting = list(zip(images, expected, strict=True))
    lock, seconds, wrong = threading.Lock(), [], 0

    def client() -> None:
        nonlocal wrong
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        while True:
            with lock:
                if not waiting:
                    break
                image, right = waiting.pop()
            start = time.perf_counter()
            connection.request("POST", "/v1/collections/default/search", _body(image), headers)
            response = connection.getresponse()
            text = response.read()
            if response.status != 200:
                raise RuntimeError(f"{response.status}: {text[:300]!r}")
            answer = json.loads(text)
            with lock:
                seconds.append(time.perf_counter() - start)
                wrong += _numbers(answer) != right
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds, time.perf_counter() - start, wrong


def _body(image: bytes) -> bytes:
    field = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="k"\r\n\r\n{K}\r\n'
    return field.encode() + _form(image)


def _cpu_seconds(pid: int) -> float:
    """CPU time of the server and its worker processes so far."""
    ticks = 0
    for process in [pid, *_children(pid)]:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
