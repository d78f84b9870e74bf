"""How do other packages answer the same questions, how often rightly, and in what time?

Run by ``make bench-peers`` in an environment of its own (``requirements/peers.txt``); peers that are not installed
are left out and named. Every peer gets the same pictures of the same sets (``BENCH_SETS``), from files, and the
same queries: ``BENCH_QUERIES`` of each set, evenly spaced, and a fifth as many where one takes long (``FEWER``).
Each runs in a process of its own. Rankings hold every image; mAP and R@1 are those of
``imagefinder.evaluation.metrics``.

* ``imagefinder``: each method by its plain score, and all together by evidence (``auto``), through
  ``Collection.add`` and ``Collection.search``: on disk, durable, with thumbnails.
* ``original algorithm``: the program that this one goes back to, written out: one ``.npy`` of float32 descriptors
  per picture, read again for each query, a product, two argmax. With imagefinder's SIFT descriptors.
* ``OpenCV BFMatcher``: the same descriptors in memory, ``NORM_L2, crossCheck=True``, matches counted.
* ``faiss flat``: ``IndexFlatIP`` over imagefinder's EfficientNet-Lite0 vectors, in memory.
* ``ImageHash``: ``phash`` and ``crop_resistant_hash``, compared one by one, as its manual does.
* ``imagededup``: ``PHash`` and ``DHash`` with its own brute-force search.

Seconds per image and query include reading and decoding the file. What needs weights from a hub is named, not run.
``BENCH_PEERS`` and ``BENCH_SETS`` pick some: the rows of others stay, each with the commit it was measured at.
Times compare with one another only; a peer without durable storage is not charged for it.
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
    "imgsearch": "its TinyCLIP weights come from the network, none are in the package",
    "imagededup CNN": "its MobileNetV3 weights come from the network, none are in the package",
}

Ask = Callable[[Path], Iterable[str]]
"""A picture's file to all ids, best first."""


def main() -> None:
    before = RESULTS / "peers.json"
    known = json.loads(before.read_text(encoding="utf-8"))["rows"] if before.exists() else []
    rows = {(row["set"], row["peer"]): row for row in known}
    wanted = os.environ.get("BENCH_PEERS", ",".join(PEERS)).split(",")
    not_run = dict(NOT_RUN)
    for name in SETS:
        if not (DATASETS / name / "manifest.json").is_file():
            print(f"skipped {name}: no {DATASETS / name}/manifest.json (set BENCH_DATASETS)")
            continue
        for peer in wanted:
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
    judged = [query for query in dataset.queries if query.positives]
    asked = min(QUERIES, len(judged)) // (5 if peer in FEWER else 1)
    numbers = np.linspace(0, len(judged) - 1, max(1, asked)).round().astype(int)
    queries = [judged[number] for number in numbers]
    with tempfile.TemporaryDirectory() as folder:
        prepare = PEERS[peer][1](Path(folder))
        start = time.perf_counter()
        ask = prepare(dataset)
        indexing = time.perf_counter() - start
        ask(queries[0].path)
        seconds, precisions, firsts = [], [], []
        for query in queries:
            start = time.perf_counter()
            ranked = list(ask(query.path))
            seconds.append(time.perf_counter() - start)
            assert sorted(ranked) == sorted(dataset.images), "every image is ranked"
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
    """Best first, ties by id, as imagefinder does it."""
    return [image for _, image in sorted(zip((-score for score in scores), images, strict=True))]


# Each of these gives, for a folder to work in, what indexes a set and gives what answers queries.


def imagefinder_by(method: str) -> Callable[[Path], Callable[[Any], Ask]]:
    def peer(folder: Path) -> Callable[[Any], Ask]:
        import imagefinder
        from imagefinder.evaluation.protocol import add_gallery

        collection = imagefinder.open(folder / "c")
        methods = [state.name for state in collection.methods() if state.ready] if method == "auto" else [method]
        for name in methods:
            collection.warm(name)

        def prepare(dataset: Any) -> Ask:
            add_gallery(collection, dataset, methods)
            k = len(dataset.images)
            if method == "auto":
                collection.calibrate()
                return lambda path: collection.search(path, k=k).ids
            return lambda path: collection.search(path, method=method, k=k, ranking="matches", evalues=False).ids

        return prepare

    return peer


def features(method: str) -> Callable[[Path], Any]:
    """One picture's features from our extractor, for peers that match only."""
    import imagefinder

    collection = imagefinder.open(tempfile.mkdtemp() + "/c")
    extractor = collection.method(method).extractor
    extractor.extract([np.zeros((64, 64, 3), np.uint8)])
    return lambda path: extractor.extract([decoded(path)])


def original(folder: Path) -> Callable[[Any], Ask]:
    extract = features("sift")

    def prepare(dataset: Any) -> Ask:
        files = [folder / f"{number}.npy" for number in range(len(dataset.images))]
        for image, file in zip(dataset.images, files, strict=True):
            np.save(file, extract(dataset.root / image).descriptors.astype(np.float32))

        def ask(path: Path) -> list[str]:
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

        return ask

    return prepare


def opencv(folder: Path) -> Callable[[Any], Ask]:
    import cv2

    del folder
    extract, matcher = features("sift"), cv2.BFMatcher(cv2.NORM_L2, crossCheck=True)

    def prepare(dataset: Any) -> Ask:
        gallery = [extract(dataset.root / image).descriptors.astype(np.float32) for image in dataset.images]

        def ask(path: Path) -> list[str]:
            query = extract(path).descriptors.astype(np.float32)
            counts = [len(matcher.match(query, rows)) if len(query) and len(rows) else 0 for rows in gallery]
            return by_score(dataset.images, counts)

        return ask

    return prepare


def faiss_flat(folder: Path) -> Callable[[Any], Ask]:
    import faiss

    del folder
    extract = features("efficientnet-lite0")

    def vector(path: Path) -> np.ndarray:
        values = extract(path).vectors
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    def prepare(dataset: Any) -> Ask:
        vectors = np.concatenate([vector(dataset.root / image) for image in dataset.images])
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        return lambda path: [dataset.images[n] for n in index.search(vector(path), len(dataset.images))[1][0]]

    return prepare


def image_hash(kind: str) -> Callable[[Path], Callable[[Any], Ask]]:
    def peer(folder: Path) -> Callable[[Any], Ask]:
        import imagehash
        from PIL import Image

        del folder

        def made(path: Path) -> Any:
            with Image.open(path) as image:
                return getattr(imagehash, kind)(image)

        def prepare(dataset: Any) -> Ask:
            hashes = [made(dataset.root / image) for image in dataset.images]

            def ask(path: Path) -> list[str]:
                query = made(path)
                return by_score(dataset.images, [-float(query - other) for other in hashes])

            return ask

        return prepare

    return peer


def dedup(kind: str) -> Callable[[Path], Callable[[Any], Ask]]:
    def peer(folder: Path) -> Callable[[Any], Ask]:
        # What its networks need is compiled against CUDA, which torch does not have here: the import would fail.
        sys.modules.setdefault("torchvision._meta_registrations", ModuleType("torchvision._meta_registrations"))
        from imagededup import methods
        from imagededup.handlers.search.brute_force_cython import BruteForceCython

        del folder
        hasher = getattr(methods, kind)(verbose=False)

        def prepare(dataset: Any) -> Ask:
            hashes = {image: hasher.encode_image(str(dataset.root / image)) for image in dataset.images}
            search = BruteForceCython(hashes, hasher.hamming_distance)

            def ask(path: Path) -> list[str]:
                found = dict(search.search(hasher.encode_image(str(path)), 64))
                return by_score(found, [-float(distance) for distance in found.values()])

            return ask

        return prepare

    return peer


PEERS: dict[str, tuple[str, Callable[[Path], Callable[[Any], Ask]]]] = {
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
"""Name -> its package, and how to use it."""


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], sys.argv[2])))
    else:
        main()
