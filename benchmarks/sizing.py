"""How much disk and memory does a collection need, by method and number of images?

Images are synthetic (fixed seed): features of realistic shape and number, records and thumbnails of the mean size
on ``copy``, stored in a collection on disk. Features are stored unchanged, so their values do not matter. SIFT
gets 643 descriptors per image, the mean on ``copy``; its default maximum is 1 000.

* **disk**: all files of the collection, with thumbnails and records, one method.
* **memory**: growth of a process that loads all features of the method, as a search does up to the setting
  ``cache_bytes`` (data beyond that is read from disk each time). ``base`` is the memory of a process that has
  loaded the library and the method.

``measured`` lists the sizes that were built (``BENCH_SIZES``, default: up to 10 000, or less if that exceeds 2
GB); other sizes are extrapolated linearly.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contract import write

SIZES = [int(size) for size in os.environ.get("BENCH_SIZES", "1000,2000,10000").split(",")]
MOST_BYTES = 2_000_000_000
PUBLISHED = (10_000, 100_000, 1_000_000, 10_000_000)
DESCRIPTORS = {"sift": 643, "beit": 197}
THUMBNAIL_BYTES = 11_800  # the mean on copy
METHODS = ("sift", "efficientnet-lite0", "resnet50", "beit")
BATCH = 50


def main() -> None:
    methods = {}
    for method in METHODS:
        measured = []
        for size in SIZES:
            if size * bytes_per_image(method) > MOST_BYTES:
                continue
            with tempfile.TemporaryDirectory() as folder:
                disk = json.loads(child("fill", method, folder, str(size)))
                memory = json.loads(child("load", method, folder))
            measured.append({"images": size, **disk, **memory})
            print(method, measured[-1], flush=True)
        slope = {
            key: (measured[-1][key] - measured[0][key]) / (measured[-1]["images"] - measured[0]["images"])
            for key in ("disk_bytes", "memory_bytes")
        }
        methods[method] = {
            "feature_bytes_per_image": bytes_per_image(method),
            "disk_bytes_per_image": round(slope["disk_bytes"]),
            "memory_bytes_per_image": round(slope["memory_bytes"]),
            "measured": measured,
            "published": {str(size): published(size, measured, slope) for size in PUBLISHED},
        }
    write("sizing", {"thumbnail_bytes": THUMBNAIL_BYTES, "descriptors": DESCRIPTORS, "methods": methods})


def published(size: int, measured: list[dict[str, Any]], slope: dict[str, float]) -> dict[str, Any]:
    for row in measured:
        if row["images"] == size:
            return {key: row[key] for key in slope} | {"how": "measured"}
    last = measured[-1]
    computed = {key: round(last[key] + slope[key] * (size - last["images"])) for key in slope}
    return computed | {"how": "computed"}


def child(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks.sizing", *arguments]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("IMAGEFINDER_")}
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment).stdout


def bytes_per_image(method: str) -> int:
    from imagefinder.core.settings import Settings
    from imagefinder.wiring import load_method

    spec = load_method(method, Settings()).extractor.spec
    rows = DESCRIPTORS.get(method, 1)
    return rows * spec.dim * np.dtype(spec.dtype).itemsize + (16 * rows if spec.kind == "local" else 0)


def features(method: str, generator: np.random.Generator) -> Any:
    from imagefinder.core.features import GlobalFeatures, LocalFeatures
    from imagefinder.core.settings import Settings
    from imagefinder.wiring import load_method

    spec = load_method(method, Settings()).extractor.spec
    if spec.kind == "global":
        return GlobalFeatures(generator.random((1, spec.dim), dtype=np.float32))
    rows = DESCRIPTORS[method]
    values = generator.random((rows, spec.dim), dtype=np.float32)
    descriptors = (values * 255).astype(np.uint8) if spec.dtype == "uint8" else values
    return LocalFeatures(descriptors, generator.random((rows, 4), dtype=np.float32), np.array([0, rows]))


def fill(method: str, folder: str, size: int) -> dict[str, int]:
    import imagefinder
    from imagefinder.core.fingerprint import Fingerprint
    from imagefinder.core.records import Entry, ImageRecord

    generator = np.random.default_rng(0)
    thumbnail = generator.bytes(THUMBNAIL_BYTES)
    with imagefinder.open(folder + "/c") as collection:
        one = features(method, generator)
        collection.store.register(Fingerprint(method, 1), one.spec())
        for start in range(0, size, BATCH):
            entries = []
            for number in range(start, min(start + BATCH, size)):
                name = f"folder/of/images/{number:012}.jpg"
                uri = f"file:///home/user/{name}"
                record = ImageRecord(
                    name, uri, f"{number:064x}", 120_000, 800, 600, "JPEG", "file:///home/user/", "1"
                )
                entries.append(Entry(record, {method: one}, thumbnail))
            collection.store.put(entries)
    files = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return {"disk_bytes": files}


def load(method: str, folder: str) -> dict[str, int]:
    import imagefinder

    settings = imagefinder.Settings.load(overrides={"cache_bytes": 1 << 40})
    with imagefinder.open(folder + "/c", settings=settings) as collection:
        next(iter(collection.store.images(limit=1)))
        base = resident()
        for _ in collection.store.scan(method):
            pass
        for _ in collection.store.scan(method):
            pass
        return {"memory_bytes": resident() - base, "base_bytes": base}


def resident() -> int:
    """Resident memory of this process in bytes; Linux only."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    action, method, folder, *size = sys.argv[1:]
    print(json.dumps(fill(method, folder, int(size[0])) if action == "fill" else load(method, folder)))
