"""How accurate and how fast are other packages on the same images and queries?

Run by ``make bench-peers`` in a separate environment (``requirements/peers.txt``); peers that are not installed
are reported as not run. Every peer gets the same image files of the same datasets (``BENCH_SETS``) and the same
queries: ``BENCH_QUERIES`` of each dataset, evenly spaced, or a fifth of that for slow peers (``FEWER``). Each peer
runs in a separate process. All images are ranked; mAP and R@1 are those of ``imagefinder.evaluation.metrics``.

* ``imagefinder``: each method by score, and all combined by evidence (``auto``), through ``Collection.add`` and
  ``Collection.search``: durable storage on disk, with thumbnails.
* ``original algorithm``: the original program's algorithm: one ``.npy`` of float32 descriptors per image, read for
  each query, one product, two argmax. With imagefinder's SIFT descriptors.
* ``OpenCV BFMatcher``: the same descriptors in memory, ``NORM_L2, crossCheck=True``, number of matches.
* ``faiss flat``: ``IndexFlatIP`` over imagefinder's EfficientNet-Lite0 vectors, in memory.
* ``ImageHash``: ``phash`` and ``crop_resistant_hash``, compared one by one, as in its manual.
* ``imagededup``: ``PHash`` and ``DHash`` with its brute-force search.

Seconds per image and query include reading and decoding the file. Peers that need downloaded weights are listed,
not run. ``BENCH_PEERS`` and ``BENCH_SETS`` select peers and datasets; other results are kept, each with the commit
it was measured at. Compare times only with each other; peers without durable storage do not pay for it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import fmean
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.contract import RESULTS, commit, spread, write

DATASETS = Path(os.environ.get("BENCH_DATASETS", Path(__file__).parents[2] / "shared" / "data"))
SETS = os.environ.get("BENCH_SETS", "copy,places").split(",")
QUERIES = int(os.environ.get("BENCH_QUERIES", "30"))

FEWER = ("OpenCV BFMatcher", "ImageHash crop_resistant_hash")

NOT_RUN = {
    "imgsearch": "its TinyCLIP weights must be downloaded, they are not in the package",
    "imagededup CNN": "its MobileNetV3 weights must be downloaded, they are not in the package",
}

Search = Callable[[Path], Iterable[str]]
"""Maps the file of a query to all ids, best first."""


def main() -> None:
    before = RESULTS / "peers.json"
    stored = json.loads(before.read_text(encoding="utf-8"))["rows"] if before.exists() else []
    rows = {(row["set"], row["peer"]): row for row in stored}
    requested = os.environ.get("BENCH_PEERS", ",".join(PEERS)).split(",")
    not_run = dict(NOT_RUN)
    for name in SETS:
        if not (DATASETS / name / "manifest.json").is_file():
            print(f"skipped {name}: no {DATASETS / name}/manifest.json (set BENCH_DATASETS)")
            continue
        for peer in requested:
            package = PEERS[peer][0]
            if not installed(package):
                not_run[peer] = f"{package} is not installed"
                continue
            run = subprocess.run(
                [sys.executable, "-m", "benchmarks.peers", name, peer],
                stdout=subprocess.PIPE,
                check=True,
                text=True,
                env={k: v for k, v in os.environ.items() if not k.startswith("IMAGEFINDER_")},
            )
            rows[name, peer] = {**json.loads(run.stdout.splitlines()[-1]), "commit": commit()}
            print(rows[name, peer], flush=True)
            packages = sorted({kind[0] for kind in PEERS.values()} | {"imgsearch"})
            write(
                "peers",
                {
                    "rows": [
                        rows[key] for key in sorted(rows, key=lambda key: (key[0], list(PEERS).index(key[1])))
                    ],
                    "not_run": not_run,
                    "packages": {package: version(package) for package in packages if installed(package)},
                },
            )


def installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def measure(name: str, peer: str) -> dict[str, Any]:
    from imagefinder.evaluation.datasets import read_manifest
    from imagefinder.evaluation.metrics import average_precision, recall_at

    dataset = read_manifest(DATASETS / name)
    answerable = [query for query in dataset.queries if query.positives]
    count = min(QUERIES, len(answerable)) // (5 if peer in FEWER else 1)
    numbers = np.linspace(0, len(answerable) - 1, max(1, count)).round().astype(int)
    queries = [answerable[number] for number in numbers]
    with tempfile.TemporaryDirectory() as folder:
        prepare = PEERS[peer][1](Path(folder))
        start = time.perf_counter()
        search = prepare(dataset)
        indexing = time.perf_counter() - start
        search(queries[0].path)
        seconds, precisions, firsts = [], [], []
        for query in queries:
            start = time.perf_counter()
            ranked = list(search(query.path))
            seconds.append(time.perf_counter() - start)
            assert sorted(ranked) == sorted(dataset.images), "every image must be ranked"
            kept = [image for image in ranked if image not in query.ignore]
            precisions.append(average_precision(kept, query.positives))
            firsts.append(recall_at(1, kept, query.positives))
    return {
        "set": name,
        "peer": peer,
        "images": len(dataset.images),
        "queries": len(queries),
        "mAP": round(fmean(precisions), 4),
        "R@1": round(fmean(firsts), 4),
        "ms_per_indexed_image": round(1000 * indexing / len(dataset.images), 2),
        "ms_per_query": {key: round(1000 * value, 2) for key, value in spread(seconds).items()},
    }


def decoded(path: Path) -> np.ndarray:
    from imagefinder.images.decoding.decode import decode

    return decode(path.read_bytes(), max_bytes=1 << 30, max_pixels=1 << 30).rgb


def by_score(images: Iterable[str], scores: Iterable[float]) -> list[str]:
    """Best first, ties by id, as in imagefinder."""
    return [image for _, image in sorted(zip((-score for score in scores), images, strict=True))]


# Each of these takes a working folder and returns a function that indexes a dataset and returns a search function.


def imagefinder_by(method: str) -> Callable[[Path], Callable[[Any], Search]]:
    def peer(folder: Path) -> Callable[[Any], Search]:
        import imagefinder
        from imagefinder.evaluation.protocol import add_gallery

        collection = imagefinder.open(folder / "c")
        methods = [state.name for state in collection.methods() if state.ready] if method == "auto" else [method]
        for name in methods:
            collection.warm(name)

        def prepare(dataset: Any) -> Search:
            add_gallery(collection, dataset, methods)
            k = len(dataset.images)
            if method == "auto":
                collection.calibrate()
                return lambda path: collection.search(path, k=k).ids
            return lambda path: collection.search(path, method=method, k=k, ranking="matches", evalues=False).ids

        return prepare

    return peer


def features(method: str) -> Callable[[Path], Any]:
    """Extract the features of one image with imagefinder, for peers that only match."""
    import imagefinder

    collection = imagefinder.open(tempfile.mkdtemp() + "/c")
    extractor = collection.method(method).extractor
    extractor.extract([np.zeros((64, 64, 3), np.uint8)])
    return lambda path: extractor.extract([decoded(path)])


def original(folder: Path) -> Callable[[Any], Search]:
    extract = features("sift")

    def prepare(dataset: Any) -> Search:
        files = [folder / f"{number}.npy" for number in range(len(dataset.images))]
        for image, file in zip(dataset.images, files, strict=True):
            np.save(file, extract(dataset.root / image).descriptors.astype(np.float32))

        def search(path: Path) -> list[str]:
            query, scores = extract(path).descriptors.astype(np.float32), []
            for file in files:
                candidate = np.load(file)
                if not len(query) or not len(candidate):
                    scores.append(0)
                    continue
                products = query @ candidate.T
                best_column, best_row = products.argmax(1), products.argmax(0)
                scores.append(int((best_row[best_column] == np.arange(len(query))).sum()))
            return by_score(dataset.images, scores)

        return search

    return prepare


def opencv(folder: Path) -> Callable[[Any], Search]:
    import cv2

    del folder
    extract, matcher = features("sift"), cv2.BFMatcher(cv2.NORM_L2, crossCheck=True)

    def prepare(dataset: Any) -> Search:
        gallery = [extract(dataset.root / image).descriptors.astype(np.float32) for image in dataset.images]

        def search(path: Path) -> list[str]:
            query = extract(path).descriptors.astype(np.float32)
            counts = [len(matcher.match(query, rows)) if len(query) and len(rows) else 0 for rows in gallery]
            return by_score(dataset.images, counts)

        return search

    return prepare


def faiss_flat(folder: Path) -> Callable[[Any], Search]:
    import faiss

    del folder
    extract = features("efficientnet-lite0")

    def vector(path: Path) -> np.ndarray:
        values = extract(path).vectors
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    def prepare(dataset: Any) -> Search:
        vectors = np.concatenate([vector(dataset.root / image) for image in dataset.images])
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        return lambda path: [dataset.images[n] for n in index.search(vector(path), len(dataset.images))[1][0]]

    return prepare


def image_hash(kind: str) -> Callable[[Path], Callable[[Any], Search]]:
    def peer(folder: Path) -> Callable[[Any], Search]:
        import imagehash
        from PIL import Image

        del folder

        def made(path: Path) -> Any:
            with Image.open(path) as image:
                return getattr(imagehash, kind)(image)

        def prepare(dataset: Any) -> Search:
            hashes = [made(dataset.root / image) for image in dataset.images]

            def search(path: Path) -> list[str]:
                query = made(path)
                return by_score(dataset.images, [-float(query - other) for other in hashes])

            return search

        return prepare

    return peer


def dedup(kind: str) -> Callable[[Path], Callable[[Any], Search]]:
    def peer(folder: Path) -> Callable[[Any], Search]:
        # Its networks need a module compiled against CUDA, without which the import fails.
        sys.modules.setdefault("torchvision._meta_registrations", ModuleType("torchvision._meta_registrations"))
        from imagededup import methods
        from imagededup.handlers.search.brute_force_cython import BruteForceCython

        del folder
        hasher = getattr(methods, kind)(verbose=False)

        def prepare(dataset: Any) -> Search:
            hashes = {image: hasher.encode_image(str(dataset.root / image)) for image in dataset.images}
            index = BruteForceCython(hashes, hasher.hamming_distance)

            def search(path: Path) -> list[str]:
                found = dict(index.search(hasher.encode_image(str(path)), 64))
                return by_score(found, [-float(distance) for distance in found.values()])

            return search

        return prepare

    return peer


PEERS: dict[str, tuple[str, Callable[[Path], Callable[[Any], Search]]]] = {
    "imagefinder efficientnet-lite0": ("imagefinder", imagefinder_by("efficientnet-lite0")),
    "imagefinder sift": ("imagefinder", imagefinder_by("sift")),
    "imagefinder auto": ("imagefinder", imagefinder_by("auto")),
    "ImageHash phash": ("ImageHash", image_hash("phash")),
    "ImageHash crop_resistant_hash": ("ImageHash", image_hash("crop_resistant_hash")),
    "imagededup PHash": ("imagededup", dedup("PHash")),
    "imagededup DHash": ("imagededup", dedup("DHash")),
    "faiss flat": ("faiss-cpu", faiss_flat),
    "original algorithm": ("numpy", original),
    "OpenCV BFMatcher": ("opencv-python-headless", opencv),
}
"""Name -> package, and how to use it."""


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], sys.argv[2])))
    else:
        main()
