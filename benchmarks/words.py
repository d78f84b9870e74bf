"""Does the index of local features (sift) hold at a million images, and at what cost?

The index alone is measured, without the features: nothing is scored or verified.

**Collection**: the 500 images of the dataset ``copy``, and ``BENCH_SIZES`` (100 000 and 1 000 000) distractors
like those of ``stages``: as many descriptors as a real image of the pool has, taken from eight images of the
pool, from each those around a random keypoint, plus noise. Two things differ, because extracting, storing and
coding 700 million descriptors would take hours. The pool has 800 images (``BENCH_POOL``) instead of 400, and each
descriptor of the pool has 16 noisy versions, which are coded once by ``Codec.encode``, so a distractor consists
of codes drawn from a table of about nine million. A code therefore occurs in many distractors of the largest
collection, but each distractor is a draw of its own (fixed seed per thousand). The words are trained on other
noisy versions, as many as the codec requests.

**Queries**: ``BENCH_QUERIES`` (100) edited images of ``copy`` with one correct answer (fixed seed), the same at
all sizes. ``right``: queries whose answer is among the 64 candidates of the query or of its mirror image.

**Times**: all of ``score_segments`` (words of the query, votes) and the choice of the candidates, for the query
alone and with its mirror image; ``words_of_both_ms``: without segments; ``cold``: after the segments were dropped
from the system's file cache. Memory is that of the process after the cold queries: anonymous, and pages of files;
``cached`` is what the system then holds of the segments in its file cache.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import parts, stages
from benchmarks.parts import ms
from imagefinder.ann import arrays, compaction
from imagefinder.ann.hamming_embedding import HammingEmbedding
from imagefinder.ann.segment import Postings, Segment, build, merge
from imagefinder.core.features import FeatureSpec, LocalFeatures

SIZES = [int(size) for size in os.environ.get("BENCH_SIZES", "100000,1000000").split(",")]
QUERIES = int(os.environ.get("BENCH_QUERIES", "100"))
POOL = int(os.environ.get("BENCH_POOL", "800"))
PARTS = ("local",)
VERSIONS = 16
BATCH = 1000
"""Number of distractors that share a seed."""

SEGMENT = 32 * BATCH
NEIGHBOURS = 125
BLOCK = 4096
SPEC = FeatureSpec("local", 128, "uint8")
PROPOSED = 64


def main() -> None:
    if not (stages.DATASETS / "copy" / "manifest.json").is_file():
        print(f"skipped: no {stages.DATASETS}/copy/manifest.json (set BENCH_DATASETS)")
        return
    child, rows = partial(parts.child, "words"), []
    with parts.working_folder("words") as folder:
        child("prepare", folder, 0)
        for size in SIZES:
            steps = [child(step, folder, size) for step in ("train", "encode", "build", "combine", "search")]
            rows.append({"images": size} | {key: value for step in steps for key, value in step.items()})
            print(rows[-1], flush=True)
            parts.keep("words", PARTS, "local", rows)


class Costs:
    """CPU seconds and peak memory of one step."""

    def __init__(self, step: str) -> None:
        self._step, self._start = step, time.process_time()

    def of(self, **more: Any) -> dict[str, Any]:
        seconds = round(time.process_time() - self._start, 1)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {f"{self._step}_cpu_seconds": seconds, f"{self._step}_peak_bytes": peak, **more}


# -- images ----------------------------------------------------------------------------------------------


def prepare(folder: str, size: int) -> dict[str, Any]:
    """Extract the pool, the images of ``copy`` and the queries."""
    del size
    import imagefinder
    from imagefinder.evaluation.datasets import read_manifest
    from imagefinder.extractors.sift import mirrored

    copy = read_manifest(stages.DATASETS / "copy")
    with imagefinder.open(Path(folder) / "empty") as collection:
        extractor = collection.method("sift").extractor

        def extracted(paths: list[Path]) -> list[LocalFeatures]:
            return [extractor.extract([stages.pixels(path)]) for path in paths]

        pool = [one for one in extracted(stages.Pool.paths(copy, POOL)) if len(one.descriptors) >= 20]
        gallery = extracted([copy.root / image for image in copy.images])
    single = [query for query in copy.queries if len(query.positives) == 1]
    chosen = [single[row] for row in np.random.default_rng(0).permutation(len(single))[:QUERIES].tolist()]
    views = []
    for query in chosen:
        pixels = stages.pixels(query.path)
        views.append(extractor.extract([pixels]))
        views.append(mirrored(views[-1], pixels.shape[1]))
    right = [list(copy.images).index(next(iter(query.positives))) for query in chosen]
    first = np.cumsum([0, *(len(one.descriptors) for one in pool)])
    near = np.concatenate(
        [neighbours(one.keypoints[:, :2]) + np.int32(begin) for one, begin in zip(pool, first, strict=False)]
    )
    for name, some in (("pool", pool), ("gallery", gallery), ("views", views)):
        offsets = np.cumsum([0, *(len(one.descriptors) for one in some)])
        np.savez(
            Path(folder) / f"{name}.npz",
            descriptors=np.concatenate([one.descriptors for one in some]),
            offsets=offsets,
        )
    np.save(Path(folder) / "near.npy", near)
    np.save(Path(folder) / "right.npy", np.array(right))
    return {"pool": len(pool)}


def neighbours(points: np.ndarray) -> np.ndarray:
    """``(n, NEIGHBOURS)`` int32: the nearest keypoints of each, itself first; repeated if there are fewer."""
    far = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    nearest = np.argsort(far, axis=1, kind="stable")[:, :NEIGHBOURS].astype(np.int32)
    return nearest[:, np.arange(NEIGHBOURS) % nearest.shape[1]]


def features(folder: str, name: str) -> LocalFeatures:
    read = np.load(Path(folder) / f"{name}.npz")
    descriptors = read["descriptors"]
    return LocalFeatures(descriptors, np.zeros((len(descriptors), 4), np.float32), read["offsets"])


class Sources:
    """The descriptors of the pool, noisy versions of them, and distractors made of these."""

    def __init__(self, folder: str) -> None:
        pool = features(folder, "pool")
        self.descriptors, self.first = pool.descriptors, pool.offsets[:-1]
        self.counts = np.diff(pool.offsets)
        self.near = np.load(Path(folder) / "near.npy", mmap_mode="r")
        self.noise = np.random.default_rng(7).normal(0, 10, 1 << 23).astype(np.float32)

    def noisy(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        real = self.descriptors[rows].astype(np.float32)
        begin = int(rng.integers(len(self.noise) - real.size))
        real += self.noise[begin : begin + real.size].reshape(real.shape) * (real > 0)
        np.maximum(real, 0, out=real)
        real *= 512 / np.maximum(np.linalg.norm(real, axis=1, keepdims=True), 1)
        return np.rint(np.minimum(real, 255)).astype(np.uint8)

    def sample(self, many: int) -> np.ndarray:
        """Noisy descriptors to train on."""
        found = np.empty((many, SPEC.dim), dtype=np.uint8)
        for number, begin in enumerate(range(0, many, BLOCK)):
            rng = np.random.default_rng((31, number))
            rows = rng.integers(len(self.descriptors), size=min(BLOCK, many - begin))
            found[begin : begin + BLOCK] = self.noisy(rows, rng)
        return found

    def versions(self, version: int) -> np.ndarray:
        """One noisy version of all descriptors."""
        found = np.empty_like(self.descriptors)
        for number, begin in enumerate(range(0, len(found), BLOCK)):
            rng = np.random.default_rng((21, version, number))
            found[begin : begin + BLOCK] = self.noisy(np.arange(begin, min(len(found), begin + BLOCK)), rng)
        return found

    def distractors(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows in the table of codes for ``BATCH`` images, and the number of rows of each image."""
        rng = np.random.default_rng((11, batch))
        sizes = rng.choice(self.counts, BATCH)
        image = rng.integers(len(self.counts), size=(BATCH, 8))
        point = self.first[image] + (rng.random((BATCH, 8)) * self.counts[image]).astype(np.int64)
        shares = sizes[:, None] // 8 + (np.arange(8) < sizes[:, None] % 8)
        shares = np.minimum(np.minimum(shares, NEIGHBOURS), self.counts[image])
        flat = shares.reshape(-1)
        place = np.arange(flat.sum()) - np.repeat(np.cumsum(flat) - flat, flat)
        rows = self.near[np.repeat(point.reshape(-1), flat), place].astype(np.int64)
        return rows * VERSIONS + rng.integers(VERSIONS, size=len(rows)), shares.sum(axis=1)


# -- index -----------------------------------------------------------------------------------------------


def train(folder: str, size: int) -> dict[str, Any]:
    sources, codec = Sources(folder), HammingEmbedding(SPEC)
    rows = int(size * sources.counts.mean())
    costs = Costs("sample")
    sample = sources.sample(codec.sample_rows(size, rows))
    made = costs.of(descriptors_per_image=round(float(sources.counts.mean()), 1), trained_on=len(sample))
    costs = Costs("train")
    offsets = np.array([0, len(sample)], dtype=np.int64)
    model = codec.train(LocalFeatures(sample, np.zeros((len(sample), 4), np.float32), offsets), size, rows)
    arrays.write(Path(folder) / f"model-{size}.bin", {}, model)
    model_bytes = sum(array.nbytes for array in model.values())
    return made | costs.of(words=codec.words(size, rows), model_bytes=model_bytes)


def encode(folder: str, size: int) -> dict[str, Any]:
    """Code all noisy versions."""
    sources, codec = Sources(folder), HammingEmbedding(SPEC)
    model = arrays.read(Path(folder) / f"model-{size}.bin")[1]
    words = np.empty((len(sources.descriptors), VERSIONS), dtype=np.int32)
    codes = np.empty(words.shape, dtype=np.uint64)
    seconds = 0.0
    for version in range(VERSIONS):
        some = sources.versions(version)
        offsets = np.array([0, len(some)], dtype=np.int64)
        start = time.process_time()
        coded = codec.encode(model, LocalFeatures(some, np.zeros((len(some), 4), np.float32), offsets))
        seconds += time.process_time() - start
        words[:, version], codes[:, version] = coded.words, coded.codes
    np.save(Path(folder) / "words.npy", words)
    np.save(Path(folder) / "codes.npy", codes)
    return {"coded": words.size, "encode_cpu_microseconds_per_descriptor": round(1e6 * seconds / words.size, 2)}


def segment_path(folder: str, size: int, number: int) -> Path:
    return Path(folder) / f"segment-{size}-{number}.bin"


def build_segments(folder: str, size: int) -> dict[str, Any]:
    sources, codec = Sources(folder), HammingEmbedding(SPEC)
    words = np.load(Path(folder) / "words.npy").reshape(-1)
    codes = np.load(Path(folder) / "codes.npy").reshape(-1)
    gallery = features(folder, "gallery")
    for number, begin in enumerate(range(0, size, SEGMENT)):
        path, end = segment_path(folder, size, number), min(size, begin + SEGMENT)
        if path.exists():  # of an interrupted run
            continue
        some: list[Postings] = []
        if not begin:
            some.append(codec.encode(arrays.read(Path(folder) / f"model-{size}.bin")[1], gallery))
        for batch in range(begin // BATCH, end // BATCH):
            rows, sizes = sources.distractors(batch)
            owners = np.repeat(np.arange(BATCH, dtype=np.int32), sizes)
            some.append(Postings(words[rows], owners, codes[rows], sizes))
        # The keys of the gallery come first; those of distractor n are n + its size.
        keys = np.arange(begin if not begin else begin + len(gallery), end + len(gallery), dtype=np.int64)
        segment = build(keys, some)
        arrays.write(path, {}, segment.arrays())
    return {}


def segments_of(folder: str, size: int) -> list[Segment]:
    paths = sorted(Path(folder).glob(f"segment-{size}-*.bin"))
    return [Segment(**arrays.read(path, scattered=True)[1], name=path.name) for path in paths]


def combine(folder: str, size: int) -> dict[str, Any]:
    """Merge the segments as the index does."""
    costs, number = Costs("merge"), 10_000
    segments = segments_of(folder, size)
    before = len(segments)
    for group in compaction.groups(compaction.worn(segments)):
        merged = merge(group, partial(arrays.allocate, Path(folder)))
        arrays.write(segment_path(folder, size, number), {}, merged.arrays())
        number += 1
        for segment in group:
            (Path(folder) / segment.name).unlink()
    segments = segments_of(folder, size)
    return costs.of(
        segments_before=before,
        segments=len(segments),
        index_bytes=sum(segment.nbytes for segment in segments),
    )


# -- queries ---------------------------------------------------------------------------------------------


def search(folder: str, size: int) -> dict[str, Any]:
    from imagefinder.ann.proposals import best_proposals, score_segments

    codec, views = HammingEmbedding(SPEC), features(folder, "views")
    right = np.load(Path(folder) / "right.npy").tolist()
    start = time.process_time(), time.perf_counter()
    model = arrays.read(Path(folder) / f"model-{size}.bin")[1]
    segments = segments_of(folder, size)
    opened = time.process_time() - start[0], time.perf_counter() - start[1]
    alive = [(segment, segment.alive) for segment in segments]
    none = np.empty(0, dtype=np.int64)

    def answer(number: int, many: int, segments: list[Segment] = segments) -> list[list[int]]:
        """The candidates of the first views of a query."""
        begin, end = views.offsets[2 * number], views.offsets[2 * number + many]
        rows = slice(begin, end)
        query = LocalFeatures(
            views.descriptors[rows],
            views.keypoints[rows],
            views.offsets[2 * number : 2 * number + many + 1] - begin,
        )
        scores = score_segments(codec, model, query, segments)
        return [best_proposals(none, alive[: len(some)], some, PROPOSED).keys.tolist() for some in scores]

    def searched(many: int, segments: list[Segment] = segments) -> tuple[list[list[list[int]]], dict[str, Any]]:
        answers, seconds, cpu = [], [], time.process_time()
        for number in range(len(right)):
            begin = time.perf_counter()
            answers.append(answer(number, many, segments))
            seconds.append(time.perf_counter() - begin)
        cpu = time.process_time() - cpu
        return answers, {
            "p50": ms(seconds, 50),
            "p95": ms(seconds, 95),
            "cpu_mean": round(1000 * cpu / len(right), 1),
        }

    for path in Path(folder).glob(f"segment-{size}-*.bin"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    cached_before = cached_bytes(folder, size)
    both, cold = searched(2)
    memory = memory_of_process()
    cached = cached_bytes(folder, size)
    _, warm = searched(2)
    _, words_only = searched(2, [])
    one, alone = searched(1)
    assert [answers[:1] for answers in both] == one
    ranks = [
        min((some.index(key) for some in found if key in some), default=None)
        for found, key in zip(both, right, strict=True)
    ]
    return {
        "queries": len(right),
        "right": sum(rank is not None for rank in ranks),
        "right_first": sum(rank == 0 for rank in ranks),
        "query_descriptors": round(float(np.diff(views.offsets)[::2].mean()), 1),
        "open_seconds": {"cpu": round(opened[0], 1), "wall": round(opened[1], 1)},
        "cold_both_ms": cold,
        "both_ms": warm,
        "words_of_both_ms": words_only,
        "one_ms": alone,
        "memory": memory,
        "cached_bytes": {"before": cached_before, "after": cached},
        "search_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def memory_of_process() -> dict[str, int]:
    """Resident bytes now: anonymous, and of files."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = {line.split(":")[0]: line.split() for line in lines if line.startswith("Rss")}
    return {name: int(found[key][1]) * 1024 for name, key in (("anonymous", "RssAnon"), ("files", "RssFile"))}


def cached_bytes(folder: str, size: int) -> int:
    """Bytes of the segments in the system's file cache."""
    total, libc = 0, ctypes.CDLL(None, use_errno=True)
    for path in Path(folder).glob(f"segment-{size}-*.bin"):
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
            pages = np.zeros(-(-len(mapped) // mmap.PAGESIZE), dtype=np.uint8)
            begin = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
            if libc.mincore(
                ctypes.c_void_p(begin), ctypes.c_size_t(len(mapped)), pages.ctypes.data_as(ctypes.c_void_p)
            ):
                raise OSError(ctypes.get_errno(), "mincore")
            total += int((pages & 1).sum()) * mmap.PAGESIZE
    return total


if __name__ == "__main__":
    parts.run_task(
        {
            "prepare": prepare,
            "train": train,
            "encode": encode,
            "build": build_segments,
            "combine": combine,
            "search": search,
        }
    )
