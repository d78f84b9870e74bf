"""Searches with words: how well they find kinds of clothing, and what they cost in a large collection.

**Accuracy**: the dataset ``clothing`` (250 images of ten kinds), with ``efficientnet-lite0`` alone. The name of
each kind, and the more common name of two of them (``NAMES``), is a search with words over all images; correct
are the images of the kind. ``ap``: average precision of the whole ranking. ``p5``: precision of the first five.
``shown``: images above the threshold of the search, and how many of them are right. ``falsely_shown``: fraction of
all known words above the threshold for some image of the dataset, in which most words name nothing.

**Cost**: ``BENCH_IMAGES`` (100 000) random vectors in a collection on disk. ``first``: opened, and searched for
the first time. ``next``: five other words. Memory is the growth of the process, with the cache of the store.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import imagefinder
from benchmarks.contract import spread, write
from benchmarks.stages import DATASETS
from imagefinder.collection import Collection
from imagefinder.core.errors import UnknownWordsError
from imagefinder.core.features import GlobalFeatures
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.models.words import vocabulary

METHOD = "efficientnet-lite0"
IMAGES = int(os.environ.get("BENCH_IMAGES", "100000"))
NAMES = {"longsleeve": "sweater", "outwear": "coat"}
BATCH = 2000


def main() -> None:
    if not (DATASETS / "clothing" / "manifest.json").is_file():
        print(f"skipped: no {DATASETS}/clothing/manifest.json (set BENCH_DATASETS)")
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
        results = {"accuracy": accuracy(Path(folder) / "clothing"), "cost": cost(Path(folder) / "large")}
    write("word_search", {**results, "words": len(vocabulary())})


def accuracy(folder: Path) -> dict[str, Any]:
    """Accuracy of each word, and of all words together."""
    root = DATASETS / "clothing"
    names = json.loads((root / "manifest.json").read_text())["images"]
    with imagefinder.open(folder) as collection:
        collection.add(*(root / name for name in names), methods=[METHOD])
        kinds = {record.id: Path(record.uri).parent.name for record in collection.images(limit=len(names))}
        searched = {
            kind: [kind, *([NAMES[kind]] if kind in NAMES else [])] for kind in sorted(set(kinds.values()))
        }
        found = {
            word: measured(collection, word, kind, kinds) for kind, words in searched.items() for word in words
        }
        shown = [word_is_shown(collection, word) for word in vocabulary().names()]
    known = [one["ap"] for one in found.values() if one]
    return {
        "images": len(kinds),
        "words": found,
        "mean_ap": round(float(np.mean(known)), 3),
        "falsely_shown": round(float(np.mean(shown)), 3),
    }


def measured(collection: Collection, word: str, kind: str, kinds: dict[str, str]) -> dict[str, Any] | None:
    """Accuracy of one word; ``None`` if it is unknown."""
    try:
        text = encoder(collection).encode(word)
    except UnknownWordsError:
        return None
    ids, vectors = stored(collection)
    scores = text.score(GlobalFeatures(vectors))
    order = np.argsort(-scores, kind="stable")
    right = np.array([kinds[ids[row]] == kind for row in order.tolist()])
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    result = collection.search(text=word, k=len(ids))
    return {
        "kind": kind,
        "classes": list(text.classes),
        "ap": round(float(precision[right].mean()), 3),
        "p5": float(right[:5].mean()),
        "shown": len(result.hits),
        "right": sum(kinds[image_id] == kind for image_id in result.ids),
        "of": int(right.sum()),
    }


def word_is_shown(collection: Collection, word: str) -> bool:
    """Whether a search with a word has a hit."""
    text = encoder(collection).encode(word)
    return bool((text.score(GlobalFeatures(stored(collection)[1])) >= text.threshold).any())


def encoder(collection: Collection) -> Any:
    """The text encoder of the method."""
    return collection.method(METHOD).text


def stored(collection: Collection) -> tuple[list[str], Any]:
    """Ids and vectors of all images; the collection is small enough to be one block."""
    (block,) = collection.store.scan(METHOD)
    assert isinstance(block.features, GlobalFeatures)
    return list(block.ids), block.features.vectors


def cost(folder: Path) -> dict[str, Any]:
    """Time and memory of searches in a large collection."""
    rng = np.random.default_rng(0)
    with imagefinder.open(folder) as collection:
        extractor = collection.method(METHOD).extractor
        collection.store.register(extractor.fingerprint(), extractor.spec)
        for start in range(0, IMAGES, BATCH):
            vectors = rng.random((min(BATCH, IMAGES - start), extractor.spec.dim), dtype=np.float32)
            collection.store.put([entry(start + row, vectors[row : row + 1]) for row in range(len(vectors))])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with imagefinder.open(folder) as collection:
        first = timed(collection, "dog")
        others = [timed(collection, word) for word in ("cup", "footwear", "animal", "sports car", "coffee cup")]
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "images": IMAGES,
        "first_seconds": first[0],
        "first_cpu_seconds": first[1],
        "next_seconds": spread([wall for wall, _ in others]),
        "next_cpu_seconds": spread([cpu for _, cpu in others]),
        "memory_mb": round((after - before) / 1024),
    }


def entry(number: int, vector: Any) -> Entry:
    """A stored image with a random vector."""
    record = ImageRecord(f"{number:06}", "", f"{number:064}", 1, 100, 100, "JPEG")
    return Entry(record, {METHOD: GlobalFeatures(vector)})


def timed(collection: Collection, text: str) -> tuple[float, float]:
    """Seconds of one search, and seconds of the processor."""
    start, cpu = time.perf_counter(), time.process_time()
    result = collection.search(text=text)
    assert result.searched == IMAGES
    return round(time.perf_counter() - start, 3), round(time.process_time() - cpu, 3)
