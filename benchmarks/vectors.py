"""How well does the index of global vectors find the exact top 10, and at what cost?

**made**: ``BENCH_VECTORS`` (1 000 000) synthetic vectors of 2048 numbers, similar to those of a pooled network:
each is the positive part of a mixture of 64 of 4 096 random directions plus noise, with about 50 vectors per
topic; queries are noisy versions of stored vectors.

**pictures**: ``BENCH_CROPS`` (100 000) vectors of EfficientNet-Lite0 with its real weights, 1280 numbers each, of
random crops (15 to 100 % of the area, half of them mirrored) of all images in ``BENCH_DATASETS``; queries are 100
further crops. The top 10 are therefore crops of the same image and of similar ones.

``by_rows``: recall if more or fewer vectors are scanned. The exact top 10 are by float32 cosine.

**faiss**: ``BENCH_BESIDE`` (200 000) of the synthetic vectors. If faiss is installed (``make bench-peers`` creates
such an environment), its indexes with one byte per number run the same queries on as many cores, with as many
candidates (64) re-scored exactly from a mapped file: cells (``IVF``) and a graph (``HNSW``), over all 2048 numbers
or over 256 after ``PCA``. ``BENCH_FAISS`` lists them by their faiss names.
"""

from __future__ import annotations

import os
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import parts
from benchmarks.parts import ms

DATASETS = Path(os.environ.get("BENCH_DATASETS", Path(__file__).parents[2] / "shared" / "data"))
VECTORS = int(os.environ.get("BENCH_VECTORS", "1000000"))
CROPS = int(os.environ.get("BENCH_CROPS", "100000"))
BESIDE = int(os.environ.get("BENCH_BESIDE", "200000"))
PARTS = ("made", "pictures", "faiss")
FAISS = os.environ.get("BENCH_FAISS", "IVF{cells},SQ8;PCA256,IVF{cells},SQ8;PCA256,HNSW32_SQ8").split(";")
QUERIES = 100
CORES = len(os.sched_getaffinity(0))
SCORED = (4096, 8192, 32768, 65536, 131072)
child, keep = partial(parts.child, "vectors"), partial(parts.keep, "vectors", PARTS)


def main() -> None:
    todo = parts.chosen(PARTS)
    if "pictures" in todo and not (DATASETS / "copy").is_dir():
        print(f"skipped: pictures: no {DATASETS}/copy (set BENCH_DATASETS)")
        todo -= {"pictures"}
    with parts.working_folder("vectors") as folder:
        if "made" in todo:
            keep("made", filled(Path(folder, "made"), VECTORS, "made"))
        if "pictures" in todo:
            keep("pictures", filled(Path(folder, "pictures"), CROPS, "pictures"))
        if "faiss" in todo and find_spec("faiss"):
            row = {**filled(Path(folder, "beside"), BESIDE, "made"), "faiss": []}
            for kind in FAISS:
                row["faiss"].append(child("faiss", str(Path(folder, "beside")), BESIDE, kind))
                print(row["faiss"][-1], flush=True)
                keep("faiss", row)


def filled(place: Path, size: int, source: str) -> dict[str, Any]:
    """Store and index vectors, and measure recall."""
    place.mkdir(exist_ok=True)
    of = child("crops", str(place), size) if source == "pictures" else {}
    return {**of, **child("fill", str(place), size, source), **child("recall", str(place), size, source)}


# -- sources of vectors ---------------------------------------------------------------------------------


def vectors(folder: str, source: str, begin: int, end: int, size: int) -> np.ndarray:
    if source == "pictures":
        return np.array(np.load(Path(folder) / "crops.npy", mmap_mode="r")[begin:end])
    return made(begin, end, size)


def queries(folder: str, source: str, store: Any, size: int) -> list[np.ndarray]:
    """``(1, D)`` each."""
    if source == "pictures":
        return list(vectors(folder, source, size, size + QUERIES, size)[:, None])
    rng = np.random.default_rng(9)
    rows = rng.choice(size, QUERIES, replace=False).tolist()
    chosen = [store.features(f"made/{row:07}", "made").vectors for row in rows]
    return [np.maximum(v + rng.standard_normal(v.shape, dtype=np.float32) * 2, 0) for v in chosen]


def made(begin: int, end: int, size: int) -> np.ndarray:
    rng = np.random.default_rng((5, begin))
    directions = np.random.default_rng(6).standard_normal((4096, 2048), dtype=np.float32)
    found = np.empty((end - begin, 2048), dtype=np.float32)
    for row in range(end - begin):
        topic = np.random.default_rng((8, (begin + row) % max(1, size // 50)))  # about 50 vectors per topic
        chosen = topic.choice(4096, 64, replace=False)
        weights = topic.exponential(size=64) * rng.normal(1, 0.35, 64)
        found[row] = weights.astype(np.float32) @ directions[chosen]
    found += rng.standard_normal(found.shape, dtype=np.float32) * 2
    return np.maximum(found, 0)


def crops(folder: str, size: int) -> dict[str, Any]:
    """Write ``crops.npy``: ``(size + QUERIES, 1280)`` float32, random crops of all images in turn."""
    from PIL import Image, UnidentifiedImageError

    from benchmarks.inference import extractor, weights_of
    from imagefinder.models.providers import Backend

    paths = []
    for path in sorted(DATASETS.rglob("*")):
        try:
            if path.suffix != ".gz" and path.is_file():
                Image.open(path).close()
                paths.append(path)
        except UnidentifiedImageError:
            continue
    per = -(-size // len(paths))
    network = extractor("efficientnet-lite0", weights_of("efficientnet-lite0", Path(folder)), Backend(), CORES)

    def some(number: int) -> list[np.ndarray]:
        """Crops of one image; the last one is for a query."""
        image, rng = Image.open(paths[number]).convert("RGB"), np.random.default_rng((12, number))
        image.thumbnail((512, 512))
        return [crop(image, rng) for _ in range(per + 1)]

    order = np.random.default_rng(13).permutation(len(paths))
    found: list[np.ndarray] = []
    with ThreadPoolExecutor(CORES) as pool:
        for begin in range(0, len(order), 16):
            images = list(pool.map(some, order[begin : begin + 16].tolist()))
            of_all = network.extract([one for group in images for one in group])
            found.append(of_all.vectors.reshape(len(images), per + 1, -1))
    whole = np.concatenate(found)
    stored = whole[:, :-1].reshape(-1, whole.shape[2])[:size]
    np.save(Path(folder) / "crops.npy", np.concatenate([stored, whole[:QUERIES, -1]]))
    return {"pictures": len(paths)}


def crop(image: Any, rng: np.random.Generator) -> np.ndarray:
    width, height = image.size
    area, shape = rng.uniform(0.15, 1), np.exp(rng.uniform(-0.29, 0.29))
    across = min(width, max(8, int(width * np.sqrt(area) * shape)))
    down = min(height, max(8, int(height * np.sqrt(area) / shape)))
    x, y = int(rng.integers(width - across + 1)), int(rng.integers(height - down + 1))
    pixels = np.asarray(image.crop((x, y, x + across, y + down)))
    return np.ascontiguousarray(pixels[:, ::-1] if rng.random() < 0.5 else pixels)


# -- tasks ---------------------------------------------------------------------------------------------------


def opened(folder: str, *, create: bool = False) -> tuple[Any, Any, Any]:
    """Open a store; returns it, the spec of its vectors, and their index."""
    from imagefinder.ann.index import InvertedFileIndex
    from imagefinder.core.features import FeatureSpec
    from imagefinder.core.fingerprint import Fingerprint
    from imagefinder.core.scratch import SCRATCH, Scratch
    from imagefinder.stores.embedded import EmbeddedStore

    crops_file = Path(folder) / "crops.npy"
    numbers = np.load(crops_file, mmap_mode="r").shape[1] if crops_file.exists() else 2048
    spec = FeatureSpec("global", numbers, "float32")
    store = EmbeddedStore(Path(folder) / "global", create=create, cache_bytes=0)
    store.register(Fingerprint("made", 1), spec)
    return store, spec, InvertedFileIndex(store, "made", spec, Scratch(Path(folder) / "global" / SCRATCH))


def fill(folder: str, size: int, source: str) -> dict[str, Any]:
    from imagefinder.core.features import GlobalFeatures
    from imagefinder.core.records import Entry, ImageRecord

    store, _, index = opened(folder, create=True)
    for begin in range(store.info().images, size, 1000):
        some = vectors(folder, source, begin, min(size, begin + 1000), size)
        store.put(
            [
                Entry(
                    ImageRecord(f"made/{begin + row:07}", "", "", 0, 1, 1, "JPEG"),
                    {"made": GlobalFeatures(some[row : row + 1])},
                )
                for row in range(len(some))
            ]
        )
    start = time.perf_counter()
    index.refresh()
    state = index.state()
    store.close()
    return {
        "images": state.images,
        "seconds_to_index": round(time.perf_counter() - start, 1),
        "index_bytes_per_image": round(state.bytes / state.images),
        "segments": state.segments,
        "indexing_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def recall(folder: str, size: int, source: str) -> dict[str, Any]:
    from imagefinder.ann import ivf_sq8
    from imagefinder.core.features import GlobalFeatures
    from imagefinder.evaluation.memory import peak_bytes, reset_peak
    from imagefinder.kernels.cosine import cosine
    from imagefinder.search.ranking import best
    from imagefinder.search.retrieval import PROPOSED

    store, spec, index = opened(folder)
    vectors_of_queries = queries(folder, source, store, size)

    def fast(vector: np.ndarray) -> list[str]:
        (proposed,) = index.propose(GlobalFeatures(vector), PROPOSED)
        _, block = store.load("made", np.sort(proposed.keys))
        return [name for name, _ in best(block.ids, cosine(vector[0], block.features.vectors), 10)]

    def run_all() -> tuple[list[list[str]], list[float]]:
        found, seconds = [], []
        for number, vector in enumerate([vectors_of_queries[0], *vectors_of_queries]):
            start = time.perf_counter()
            names = fast(vector)
            if number:  # the first query is a warm-up
                seconds.append(time.perf_counter() - start)
                found.append(names)
        return found, seconds

    reset_peak()
    found, seconds = run_all()
    peak = peak_bytes()
    kept = Path(folder) / "queries.npz"
    if not kept.exists():
        truth: list[list[tuple[str, float]]] = [[] for _ in vectors_of_queries]
        start = time.perf_counter()
        for block in store.scan("made"):
            for number, vector in enumerate(vectors_of_queries):
                some = best(block.ids, cosine(vector[0], block.features.vectors), 10)
                truth[number] = sorted(truth[number] + some, key=lambda pair: (-pair[1], pair[0]))[:10]
        exact = (time.perf_counter() - start) / len(vectors_of_queries)
        rows_of = [[int(name.removeprefix("made/")) for name, _ in one] for one in truth]
        np.savez(kept, queries=np.concatenate(vectors_of_queries), truth=np.array(rows_of), exact=exact)
    truth_file = np.load(kept)
    names = [[f"made/{row:07}" for row in one] for one in truth_file["truth"].tolist()]
    usual, by_rows = ivf_sq8.SCORED, []
    ivf_sq8.VISITED = 1
    run_all()  # refill the system's cache, which the exact search has replaced
    for rows in SCORED:
        ivf_sq8.SCORED = rows
        again, their_seconds = run_all()
        by_rows.append({"looked_at": rows, **quality(again, names, their_seconds)})
    return {
        "numbers": spec.dim,
        "looked_at": usual,
        **quality(found, names, seconds),
        "by_rows": by_rows,
        "exact_ms_each_of_all_at_once": round(1000 * float(truth_file["exact"]), 1),
        "resident_peak_bytes": peak,
        "load_while_asking": round(os.getloadavg()[0], 1),
    }


def quality(found: list[list[Any]], truth: list[list[Any]], seconds: list[float]) -> dict[str, Any]:
    shares = [len(set(t) & set(f)) / 10 for t, f in zip(truth, found, strict=True)]
    return {
        "queries": len(truth),
        "recall_at_10": round(float(np.mean(shares)), 4),
        "same_first": sum(t[0] == f[0] for t, f in zip(truth, found, strict=True)),
        "fast_ms": {"p50": ms(seconds, 50), "p95": ms(seconds, 95)},
    }


def by_faiss(folder: str, size: int, kind: str) -> dict[str, Any]:
    """Measure a faiss index on the same vectors and queries, at several efforts."""
    import faiss

    from imagefinder.evaluation.memory import peak_bytes, reset_peak
    from imagefinder.search.retrieval import PROPOSED

    stored = stored_vectors(folder, size)
    truth_file = np.load(Path(folder) / "queries.npz")
    cells = max(1, min(4096, size // 256))  # as many as in imagefinder
    index = faiss.index_factory(2048, kind.format(cells=cells))  # by distance: PCA moves the origin
    start = time.perf_counter()
    chosen = np.sort(np.random.default_rng(1).permutation(size)[: cells * 64])
    index.train(stored[chosen])
    for begin in range(0, size, 20_000):
        index.add(stored[begin : begin + 20_000])
    built = time.perf_counter() - start
    inner = faiss.downcast_index(index.index if kind.startswith("PCA") else index)
    kept = Path(folder) / "faiss.index"
    faiss.write_index(index, str(kept))
    del index, inner
    index = faiss.read_index(str(kept))
    inner = faiss.downcast_index(index.index if kind.startswith("PCA") else index)
    reset_peak()
    rows = []
    for effort in (16, 48, 128) if "IVF" in kind else (64, 200, 400):
        if "IVF" in kind:
            inner.nprobe = effort
        else:
            inner.hnsw.efSearch = effort
        found, seconds = [], []
        for number, vector in enumerate([truth_file["queries"][0], *truth_file["queries"]]):
            begun = time.perf_counter()
            unit = (vector / np.linalg.norm(vector))[None]
            proposed = np.sort(index.search(unit, PROPOSED)[1][0])
            scores = stored[proposed[proposed >= 0]] @ unit[0]
            best = proposed[proposed >= 0][np.argsort(-scores, kind="stable")[:10]].tolist()
            if number:  # the first query is a warm-up
                seconds.append(time.perf_counter() - begun)
                found.append(best)
        rows.append({"effort": effort, **quality(found, truth_file["truth"].tolist(), seconds)})
    return {
        "index": kind.format(cells=cells),
        "seconds_to_index": round(built, 1),
        "index_bytes_per_image": round(kept.stat().st_size / size),
        "resident_peak_bytes": peak_bytes(),
        "by_effort": rows,
        "load_while_asking": round(os.getloadavg()[0], 1),
    }


def stored_vectors(folder: str, size: int) -> Any:
    """All vectors, normalised, ``(size, 2048)`` float32, mapped from a file that is written once."""
    from imagefinder.stores.embedded import EmbeddedStore

    path = Path(folder) / "vectors.npy"
    if not path.exists():
        store = EmbeddedStore(Path(folder) / "global", create=False, cache_bytes=0)
        made = np.lib.format.open_memmap(path, "w+", np.float32, (size, 2048))
        for block in store.scan("made"):
            rows = [int(name.removeprefix("made/")) for name in block.ids]
            lengths = np.linalg.norm(block.features.vectors, axis=1, keepdims=True)
            made[rows] = block.features.vectors / np.maximum(lengths, 1e-12)
        made.flush()
        store.close()
    return np.load(path, mmap_mode="r")


if __name__ == "__main__":
    parts.run_task({"crops": crops, "fill": fill, "recall": recall, "faiss": by_faiss})
