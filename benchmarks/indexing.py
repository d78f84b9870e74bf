"""How much does ``add`` cost beyond decoding and extraction, and is its memory bounded?

For each method: the first 200 images of ``copy`` (``BENCH_PICTURES``), repeated under other names (``times``) so
that the bare extractor is busy for 20 seconds; files are in the system's cache. ResNet-50 and BEiT have random
weights with a fixed seed, which does not affect the time. In alternating rounds:

* ``extract``: the bare extractor on decoded images, in batches, with all threads;
* ``decode + extract``, the baseline: each batch is read and decoded by one thread per core, then extracted. This
  is an efficient loop without storage;
* ``add``: ``Collection.add`` into a new collection, which also hashes, makes thumbnails, looks up and stores.

Wall-clock seconds are what a user waits for. CPU seconds depend less on other load; they include the decoding
processes and their start. ``parts`` is the CPU time of each step alone on one thread, in milliseconds per image.

``memory`` is the peak of a process that adds the images once, and of one that adds them several times under other
names: it is bounded if both are equal.
"""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contract import spread, write
from benchmarks.inference import extractor as network
from benchmarks.inference import weights_of

DATASETS = Path(os.environ.get("BENCH_DATASETS", Path(__file__).parents[2] / "shared" / "data"))
IMAGES = int(os.environ.get("BENCH_PICTURES", "200"))
ROUNDS = 2
COPIES = 5
SECONDS = 20
SEEDED = ("resnet50", "beit")


def main() -> None:
    import imagefinder

    if not (DATASETS / "copy" / "db").is_dir():
        print(f"skipped: no {DATASETS}/copy/db (set BENCH_DATASETS)")
        return
    answer: dict[str, Any] = {"pictures": IMAGES, "methods": {}}
    with tempfile.TemporaryDirectory() as folder:
        once = Path(folder, "once")
        once.mkdir()
        for path in sorted((DATASETS / "copy" / "db").iterdir())[:IMAGES]:
            shutil.copyfile(path, once / path.name)
        with imagefinder.open(folder + "/names") as collection:
            ready = [state.name for state in collection.methods() if state.ready]
        methods = [*ready, *(name for name in SEEDED if name not in ready)]
        for method in methods:
            answer["methods"][method] = measure(method, once, Path(folder))
            print(method, answer["methods"][method], flush=True)
        several = Path(folder, "several")
        for number in range(COPIES):
            shutil.copytree(once, several / str(number))
        answer["memory"] = {
            method: {"once": peak(method, once), f"{COPIES} times": peak(method, several)} for method in ready
        }
    write("indexing", answer)


def measure(method: str, once: Path, folder: Path) -> dict[str, Any]:
    from imagefinder.images.decoding.decode import decode
    from imagefinder.images.resize import thumbnail

    with opened(folder / "bare", method, folder) as collection:
        settings, extractor = collection.settings, collection.method(method).extractor
    extractor.extract([np.zeros((64, 64, 3), np.uint8)])
    paths = sorted(once.iterdir())

    def read(path: Path) -> np.ndarray:
        data = path.read_bytes()
        return decode(data, max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels).rgb

    decoded = [read(path) for path in paths]
    few = list(zip(paths, decoded, strict=True))[:50]
    start = time.perf_counter()
    extractor.extract(decoded)
    times = math.ceil(SECONDS / (time.perf_counter() - start))
    several = folder / f"{method}-images"
    for number in range(times):
        shutil.copytree(once, several / str(number))
    paths, decoded = sorted(several.rglob("*.*")), decoded * times
    batches = range(0, len(paths), settings.batch_size)

    def bare() -> None:
        for at in batches:
            extractor.extract(decoded[at : at + settings.batch_size])

    def loop() -> None:
        with ThreadPoolExecutor(settings.threads) as pool:
            for at in batches:
                extractor.extract(list(pool.map(read, paths[at : at + settings.batch_size])))

    def add(number: int) -> None:
        with opened(folder / f"{method}-{number}", method, folder) as collection:
            # Load the extractor before, as for the other two.
            collection.method(method).extractor.extract(decoded[:1])
            report = collection.add(several, methods=[method])
            assert report.added == len(paths), report
        shutil.rmtree(folder / f"{method}-{number}")

    clock: dict[str, list[float]] = {}
    processor: dict[str, list[float]] = {}
    for number in range(ROUNDS + 1):
        for name, call in (("extract", bare), ("decode + extract", loop), ("add", partial(add, number))):
            start, start_processor = time.perf_counter(), processor_seconds()
            call()
            if number:  # the first round is a warm-up
                clock.setdefault(name, []).append(time.perf_counter() - start)
                processor.setdefault(name, []).append(processor_seconds() - start_processor)
    shutil.rmtree(several)
    return {
        "times": times,
        "seconds": {name: spread(values) for name, values in clock.items()},
        "processor_seconds": {name: spread(values) for name, values in processor.items()},
        "add_over": {
            name: {
                "seconds": spread([a / b for a, b in zip(clock["add"], clock[name], strict=True)]),
                "processor_seconds": spread(
                    [a / b for a, b in zip(processor["add"], processor[name], strict=True)]
                ),
            }
            for name in ("extract", "decode + extract")
        },
        "parts": {
            "read and decode": each(lambda: [read(path) for path, _ in few], len(few)),
            "thumbnail": each(lambda: [thumbnail(image) for _, image in few], len(few)),
            "extract": each(lambda: extractor.extract([image for _, image in few]), len(few)),
        },
    }


def opened(place: Path, method: str, folder: Path) -> Any:
    """Open a collection in which the method has weights, random ones if necessary."""
    import imagefinder
    from imagefinder.models.providers import Backend

    collection = imagefinder.open(place)
    if method in SEEDED:
        threads = collection.settings.threads
        extractor = network(method, weights_of(method, folder), Backend(), threads)
        chosen = replace(collection.method(method), extractor=extractor, load=extractor.load)
        collection._loaded[method] = chosen
    return collection


def processor_seconds() -> float:
    """CPU time of this process and of finished decoding processes, which end with their collection."""
    kinds = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in kinds)


def each(call: Callable[[], object], count: int) -> float:
    """CPU time in milliseconds per image."""
    start = time.process_time()
    call()
    return round(1000 * (time.process_time() - start) / count, 3)


def peak(method: str, folder: Path) -> int:
    command = [sys.executable, "-m", "benchmarks.indexing", method, str(folder)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("IMAGEFINDER_")}
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment)
    return int(json.loads(run.stdout.splitlines()[-1]))


def add_once(method: str, folder: str) -> int:
    import imagefinder
    from imagefinder.evaluation.memory import peak_bytes

    with tempfile.TemporaryDirectory() as place, imagefinder.open(place + "/c") as collection:
        collection.add(folder, methods=[method])
    return peak_bytes() or 0


if __name__ == "__main__":
    print(json.dumps(add_once(*sys.argv[1:])))
