"""What do features and thumbnails as objects of an S3 service cost, compared with rows and with a folder?

**Servers**: PostgreSQL and SeaweedFS (one process, one copy) on this machine. **Collection**: 400 images of the
dataset ``copy`` with ``sift``, in a folder, in rows and in objects.

* ``size``: bytes of an image: features plain and compressed, thumbnail, features of the thumbnail. Processor time
  to compress and expand the features of an image, at the level in use and at another.
``objects, cached`` has its cache on the same disk; an object is in it from its third reading on.

* ``candidates``: the sift features of 64 random images, as the second stage of a search reads them, and the
  thumbnails of 16.
* ``search``: fast searches with edited images of the dataset in both collections of the database, whose vectors
  propose the candidates; ``equal_answers`` counts those with equal ids and decisions.
* ``writing``: images a second that one process puts, in batches of 16, all features computed before.

Processor times include those of the servers; they are what counts on a machine with other work.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from benchmarks.cluster import DATASETS, compared, processor_time, queries

PARTS = ("size", "candidates", "writing", "search")
IMAGES = 400
CANDIDATES = 64
THUMBNAILS = 16
ROUNDS = 40
BATCH = 16
WRITTEN = 320


def main() -> None:
    from benchmarks import parts

    if not (DATASETS / "copy" / "manifest.json").is_file():
        print(f"skipped: no {DATASETS}/copy/manifest.json (set BENCH_DATASETS)")
        return
    with parts.working_folder("objects") as folder, opened(Path(folder)) as (collections, servers):
        stores = {name: collection.store for name, collection in collections.items()}
        runs: dict[str, Callable[[], dict[str, Any]]] = {
            "size": lambda: size(stores),
            "candidates": lambda: candidates(stores, servers),
            "search": lambda: search(collections, servers),
            "writing": lambda: writing(stores, servers),
        }
        for part in PARTS:
            if part in parts.chosen(PARTS):
                parts.keep("objects", PARTS, part, runs[part]())


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[tuple[dict[str, Any], Callable[[], float]]]:
    """The same images in three stores, and a function that returns the processor time of the servers."""
    root = Path(__file__).parents[1] / "tests"
    sys.path[:0] = [str(root), str(root / "support")]
    import imagefinder
    from cluster.object_server import SeaweedServer
    from cluster.postgres_server import PostgresServer
    from imagefinder.core.settings import Settings

    postgres, seaweed = PostgresServer(settings={"fsync": "on", "shared_buffers": "256MB"}), SeaweedServer()
    try:
        postgres.start()
        seaweed.start()
        os.environ.update(seaweed.environment)
        url = postgres.url(postgres.new_database())
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(imagefinder.open(folder / "collection"))
            files = sorted((DATASETS / "copy" / "db").iterdir())[:IMAGES]
            source.add(*files, methods=["sift"])
            source.calibrate()
            collections = {"folder": source}
            bucket = seaweed.url("images", "bench")
            for name, settings in {
                "rows": Settings(),
                "objects": Settings(objects=bucket, objects_cache_bytes=0),
                "objects, cached": Settings(objects=bucket, scratch=folder / "scratch"),
            }.items():
                place = f"{url}/{name.replace(', ', '-')}"
                opened = stack.enter_context(imagefinder.open(place, settings=settings))
                collections[name] = opened
                copy(source.store, opened.store)

            def servers() -> float:
                return processor_time(postgres.pid) + sum(own_time(pid) for pid in seaweed.pids())

            yield collections, servers
    finally:
        seaweed.remove()
        postgres.remove()


def own_time(pid: int) -> float:
    """Seconds of processor time of a process and all its threads."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def copy(source: Any, target: Any) -> None:
    from imagefinder.search import null_model

    for method in source.info().methods.values():
        target.register(method.fingerprint, method.spec)
    ids = [record.id for record in source.images(limit=1000)]
    for begin in range(0, len(ids), BATCH):
        target.put([source.entry(one) for one in ids[begin : begin + BATCH]], copied=True)
    assert source.digests(ids) == target.digests(ids)
    for name in (null_model.NAME,):
        if derived := source.derived(name):
            target.put_derived(name, derived.data)


def size(stores: dict[str, Any]) -> dict[str, Any]:
    import zstandard

    from imagefinder.stores.codec import encode
    from imagefinder.stores.distributed import codec

    store = stores["folder"]
    ids = [record.id for record in store.images(limit=IMAGES)]
    plain = [(one, encode(one, "sift", store.features(one, "sift"))) for one in ids]
    raw = sum(encoded.nbytes for _, encoded in plain)
    rows: dict[str, Any] = {"images": len(ids), "plain_bytes": round(raw / len(ids))}
    spec = store.info().methods["sift"].spec
    used = codec._LEVEL
    for level in (1, 3):
        frames, encoding, decoding = [], [], []
        codec._LEVEL = level
        for _ in range(3):
            begin = time.process_time()
            frames = [codec.compress(one, "sift", encoded) for one, encoded in plain]
            encoding.append(time.process_time() - begin)
            begin = time.process_time()
            decoder = codec.FrameDecoder("sift", spec)
            for (one, encoded), frame in zip(plain, frames, strict=True):
                decoder.add(one, frame, encoded.checksum)
            decoding.append(time.process_time() - begin)
        codec._LEVEL = used
        packed = sum(map(len, frames))
        rows[f"level {level}"] = {
            "bytes": round(packed / len(ids)),
            "ratio": round(packed / raw, 3),
            "compress_ms": round(1000 * median(encoding) / len(ids), 2),
            "expand_ms": round(1000 * median(decoding) / len(ids), 2),
        }
    rows["library"] = zstandard.__version__
    thumbnails = store.thumbnails(ids)
    rows["thumbnail_bytes"] = round(mean(len(jpeg) for jpeg in thumbnails.values()))
    return rows


def candidates(stores: dict[str, Any], servers: Callable[[], float]) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    ids = [record.id for record in stores["folder"].images(limit=IMAGES)]
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for turn in range(ROUNDS):
        some = [ids[place] for place in rng.choice(len(ids), CANDIDATES, replace=False)]
        few = some[:THUMBNAILS]
        for name in list(stores)[:: 1 if turn % 2 else -1]:
            store = stores[name]
            for what, run in {
                "features of 64": lambda: store.select("sift", some),  # noqa: B023 - called here
                "thumbnails of 16": lambda: store.thumbnails(few),  # noqa: B023 - called here
            }.items():
                found.setdefault(what, {}).setdefault(name, []).append(measured(run, servers))
    return {what: compared(timed, "folder") for what, timed in found.items()}


def search(collections: dict[str, Any], servers: Callable[[], float]) -> dict[str, Any]:
    """Searches by evidence, after one to warm up."""
    timed: dict[str, list[tuple[float, float]]] = {}
    equal = 0
    for turn, query in enumerate(queries()):
        answers = []
        for name in list(collections)[1:][:: 1 if turn % 2 else -1]:
            collections[name].search(query, mode="fast")
            found: list[Any] = []
            timed.setdefault(name, []).append(
                measured(lambda: found.append(collections[name].search(query, mode="fast")), servers)  # noqa: B023
            )
            answers.append((found[0].decision, [(hit.id, hit.decision) for hit in found[0].hits]))
        equal += all(answer == answers[0] for answer in answers)
    return {**compared(timed, "rows"), "equal_answers": equal, "queries": turn + 1}


def writing(stores: dict[str, Any], servers: Callable[[], float]) -> dict[str, Any]:
    source = stores["folder"]
    entries = [source.entry(record.id) for record in source.images(limit=BATCH)]
    timed: dict[str, list[tuple[float, float]]] = {}
    for turn in range(WRITTEN // BATCH):
        renamed = [replace(one, image=replace(one.image, id=f"{turn}/{one.image.id}")) for one in entries]
        for name in ("rows", "objects"):
            timed.setdefault(name, []).append(measured(lambda: stores[name].put(renamed), servers))  # noqa: B023
        for name in timed:
            stores[name].delete([one.image.id for one in renamed])
    rates = {name: round(BATCH / median(wall for wall, _ in runs), 1) for name, runs in timed.items()}
    return {**compared(timed, "rows"), "images_a_second": rates}


def measured(run: Callable[[], object], servers: Callable[[], float]) -> tuple[float, float]:
    """Seconds, and processor time of this process and of the servers."""
    wall, own, others = time.perf_counter(), time.process_time(), servers()
    run()
    return time.perf_counter() - wall, time.process_time() - own + servers() - others


if __name__ == "__main__":
    main()
