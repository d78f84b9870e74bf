"""Does the fast mode give the same results as the exact mode on large collections (sift), and at what cost?

**Collection**: the 500 images of the dataset ``copy``; of every fifth image that a query shows, two more edited
versions (three quarters of the size, or a crop of 81 %, JPEG quality 60); the rest, up to each of ``BENCH_SIZES``
images (default: 10 000 and 100 000), are distractors made of real descriptors. A distractor has as many
descriptors as a real image of the pool, taken from eight images of the pool, from each those around a random
keypoint (so that patches keep their texture and neighbours), plus noise with a standard deviation of 10 per
nonzero element, scaled to length 512 and rounded. Each has the thumbnail of an image of the pool, with its
features. The pool is 400 images of ``clothing``, ``grocery``, ``places`` and those of ``copy`` without a query, so
no distractor contains a true match. The collection and its index grow from size to size.

**Queries**: ``BENCH_QUERIES`` edited images of ``copy`` (fixed seed; crops, screenshots, collages, rotations) with
a correct answer. Half of them have one correct answer; the second and third hit of the exact search are then
chance: the two images that happen to have the most matches. Half have three correct answers. ``BENCH_EXACT`` of
the queries also run in exact mode, alternating. ``answers`` compares both modes: by matches (``ranking=matches``)
the top 3; by evidence (without mirrored copies, which would double the exact time) those of the top 3 whose
decision is not ``none``. Times are those of the ranking by matches without E-values.

**agreement**: in a collection of each size, ``BENCH_AGREE`` (100) of the queries by evidence in both modes: are
the results the same, for matches, and for hits that are at least possible matches? The latter depend on chance if
an E-value is near 1. No times are measured.

Seconds are those of ``match`` and ``index`` together; ``usual_ms`` is a default search (by evidence, fast, with
mirrored copies), all stages except decoding and extraction. Other work may share the CPU: the load is recorded.
"""

from __future__ import annotations

import io
import os
import resource
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import parts
from benchmarks.parts import ms
from imagefinder.core.features import LocalFeatures, RgbImage, concatenate
from imagefinder.images.decoding.decode import decode
from imagefinder.images.resize import thumbnail

DATASETS = Path(os.environ.get("BENCH_DATASETS", Path(__file__).parents[2] / "shared" / "data"))
SIZES = [int(size) for size in os.environ.get("BENCH_SIZES", "10000,100000").split(",")]
QUERIES = int(os.environ.get("BENCH_QUERIES", "200"))
EXACT = int(os.environ.get("BENCH_EXACT", "60"))
AGREE = int(os.environ.get("BENCH_AGREE", "100"))
PARTS = ("local", "agreement")


def main() -> None:
    if not (DATASETS / "copy" / "manifest.json").is_file():
        print(f"skipped: no {DATASETS}/copy/manifest.json (set BENCH_DATASETS)")
        return
    child, keep = partial(parts.child, "stages"), partial(parts.keep, "stages", PARTS)
    chosen = parts.chosen(PARTS)
    rows: dict[str, list[dict[str, Any]]] = {part: [] for part in chosen}
    with parts.working_folder("stages") as folder:
        for size in SIZES:
            grown = child("grow", folder, size)
            if "local" in chosen:
                rows["local"].append({**grown, **child("search", folder, size)})
            if "agreement" in chosen:
                rows["agreement"].append({"images": grown["images"], **child("agree", folder, size)})
            for part in sorted(chosen):
                print(rows[part][-1], flush=True)
                keep(part, rows[part])


def labelled_queries() -> tuple[list[tuple[Path, frozenset[str]]], dict[str, str]]:
    """Queries with their correct answers, and edited versions to store: id -> id of the original."""
    from imagefinder.evaluation.datasets import read_manifest

    copy = read_manifest(DATASETS / "copy")
    single = [query for query in copy.queries if len(query.positives) == 1]
    shown = sorted({image for query in single for image in query.positives})
    series = {f"series/{number}/{image}": image for image in shown[::5] for number in (1, 2)}
    rng = np.random.default_rng(0)
    groups: dict[int, list[tuple[Path, frozenset[str]]]] = {1: [], 3: []}
    for query in single:
        correct = query.positives | {made for made, image in series.items() if image in query.positives}
        groups[len(correct)].append((query.path, correct))
    chosen = []
    for group in groups.values():
        order = rng.permutation(len(group))[: QUERIES // 2]
        chosen.append([group[number] for number in order.tolist()])
    return [query for pair in zip(*chosen, strict=False) for query in pair], series


def edited(path: Path, number: int) -> bytes:
    from PIL import Image

    image = Image.open(path).convert("RGB")
    width, height = image.size
    if number == 1:
        image = image.resize((max(1, width * 3 // 4), max(1, height * 3 // 4)), Image.Resampling.LANCZOS)
    else:
        image = image.crop((width // 20, height // 20, width - width // 20, height - height // 20))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return buffer.getvalue()


def grow(folder: str, size: int) -> dict[str, Any]:
    import imagefinder
    from imagefinder.core.records import Entry, ImageRecord
    from imagefinder.evaluation.datasets import read_manifest
    from imagefinder.evaluation.protocol import add_gallery
    from imagefinder.indexing.thumbnails import ThumbnailIndexer

    root = Path(folder) / "local"
    with imagefinder.open(root / "c") as collection:
        method = collection.method("sift")
        copy = read_manifest(DATASETS / "copy")
        add_gallery(collection, copy, ["sift"])
        series = labelled_queries()[1]
        stored = collection.store.status(list(series))
        for name, original in series.items():
            if name not in stored:
                collection.put(name, edited(copy.root / original, int(name.split("/")[1])))
        pool = Pool(collection, copy, Path(folder) / "pool.npz")
        collection.store.register(method.extractor.fingerprint(), method.extractor.spec)
        shown = ImageRecord("made", "", "", 0, 1024, 768, "JPEG")
        thumbnails = ThumbnailIndexer(collection.store, collection.runtime).with_features(
            [Entry(shown, {}, encoded) for encoded in pool.thumbnails]
        )
        start, first = time.perf_counter(), collection.info().images
        for begin in range(first, size, 500):
            entries = []
            for number in range(begin, min(size, begin + 500)):
                descriptors, keypoints = pool.distractor(number)
                features = LocalFeatures(descriptors, keypoints, np.array([0, len(descriptors)], dtype=np.int64))
                record = replace(shown, id=f"made/{number:07}")
                entries.append(replace(thumbnails[pool.shown(number)], image=record, features={"sift": features}))
            collection.store.put(entries)
        made = time.perf_counter() - start
        before = collection.verify_index().indexes[0].indexed
        start = time.perf_counter()
        report = collection.rebuild_index(rebuild=False)
        seconds = time.perf_counter() - start
        state, info = report.indexes[0], collection.info()
        return {
            "images": info.images,
            "descriptors_per_image": round(info.methods["sift"].bytes / 144 / info.images, 1),
            "feature_bytes": info.methods["sift"].bytes,
            "index_bytes_per_image": round(state.bytes / state.images),
            "segments": state.segments,
            "images_indexed": state.indexed - before,
            "seconds_to_index": round(seconds, 1),
            "seconds_to_make_and_store_distractors": round(made, 1),
            "indexing_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "load_while_indexing": round(os.getloadavg()[0], 1),
        }


def pixels(path: Path) -> RgbImage:
    return decode(path.read_bytes(), max_bytes=1 << 30, max_pixels=1 << 28).rgb


class Pool:
    """Real descriptors in memory, and distractors made of them."""

    def __init__(self, collection: Any, copy: Any, kept: Path) -> None:
        paths = self.paths(copy)
        self.thumbnails = [thumbnail(pixels(path)) for path in paths]
        if not kept.exists():
            batch = self.extracted(collection, paths)
            np.savez(kept, descriptors=batch.descriptors, keypoints=batch.keypoints, offsets=batch.offsets)
        read = np.load(kept)
        batch = LocalFeatures(read["descriptors"], read["keypoints"], read["offsets"])
        self.sources = [one for one in map(batch.image, range(len(batch))) if len(one.descriptors) >= 20]
        self.counts = np.array([len(source.descriptors) for source in self.sources])
        self.noise = np.random.default_rng(7).normal(0, 10, 1 << 23).astype(np.float32)

    @staticmethod
    def paths(copy: Any, many: int = 400) -> list[Path]:
        labelled = {image for query in copy.queries for image in query.positives | query.ignore}
        paths = [copy.root / image for image in copy.images if image not in labelled]
        for name in ("clothing", "grocery", "places"):
            paths += sorted((DATASETS / name).rglob("*.jpg"))
        order = np.random.default_rng(3).permutation(len(paths))[:many]
        return [paths[place] for place in order.tolist()]

    @staticmethod
    def extracted(collection: Any, paths: list[Path]) -> Any:
        extractor = collection.method("sift").extractor
        parts = [extractor.extract([pixels(path)]) for path in paths]
        return concatenate(extractor.spec, parts)

    def shown(self, number: int) -> int:
        """Number of the image of the pool whose thumbnail a distractor has."""
        return int(np.random.default_rng((13, number)).integers(len(self.thumbnails)))

    def distractor(self, number: int) -> tuple[Any, Any]:
        rng = np.random.default_rng((11, number))
        parts, places = [], []
        for rows in np.array_split(np.arange(rng.choice(self.counts)), 8):
            source = self.sources[rng.integers(len(self.sources))]
            points = source.keypoints[:, :2]
            far = ((points - points[rng.integers(len(points))]) ** 2).sum(axis=1)
            many = min(len(rows), len(far))
            near = np.argpartition(far, many - 1)[:many] if many else np.empty(0, dtype=np.int64)
            parts.append(source.descriptors[near])
            places.append(source.keypoints[near])
        real = np.concatenate(parts).astype(np.float32)
        begin = int(rng.integers(len(self.noise) - real.size))
        real += self.noise[begin : begin + real.size].reshape(real.shape) * (real > 0)
        np.maximum(real, 0, out=real)
        real *= 512 / np.maximum(np.linalg.norm(real, axis=1, keepdims=True), 1)
        return np.rint(np.minimum(real, 255)).astype(np.uint8), np.concatenate(places)


@dataclass(frozen=True)
class Answers:
    """Result of the exact search: top 3 by matches, hits among the top 3 by evidence, and its time."""

    matches: list[str]
    evidence: list[str]
    seconds: float


def seconds_of(result: Any) -> float:
    return sum(result.timings.get(stage, 0.0) for stage in ("index", "match"))


def search(folder: str, size: int) -> dict[str, Any]:
    del size
    import imagefinder
    from imagefinder.evaluation.memory import peak_bytes, reset_peak

    queries, _ = labelled_queries()
    with imagefinder.open(Path(folder) / "local" / "c") as collection:

        def answer(path: Path) -> tuple[list[str], float]:
            """Ranked by matches, fast."""
            result = collection.search(path, method="sift", ranking="matches", evalues=False, mode="fast")
            assert result.mode == "fast"
            return result.ids, seconds_of(result)

        def found(path: Path, mode: str, k: int) -> tuple[Any, list[str]]:
            """A search by evidence: the result, and its top 3 without those with the decision ``none``."""
            result = collection.search(path, method="sift", mirror=False, mode=mode, k=k)
            assert result.mode == mode
            return result, [hit.id for hit in result.hits[:3] if hit.decision != "none"]

        def usual_seconds(path: Path) -> float:
            """Time of a search with default options, without decoding and extraction."""
            timings = collection.search(path, method="sift", mode="fast").timings
            return timings["total"] - timings.get("decode", 0.0) - timings["extract"]

        def both(path: Path) -> Answers:
            """Exact results by matches and by evidence, from one search: each hit has its score."""
            result, its = found(path, "exact", collection.info().images)
            plain = sorted(result.hits, key=lambda hit: (-hit.score, hit.id))[:3]
            return Answers([hit.id for hit in plain], its, seconds_of(result))

        def processor_ms(mode: str, many: int) -> float:
            """CPU time of one query by id, which needs no extraction, over all threads."""
            names = [correct for _, (correct, *_) in ((p, sorted(r)) for p, r in queries[:many])]
            start = time.process_time()
            for name in names:
                collection.search(id=name, method="sift", ranking="matches", evalues=False, mode=mode)
            return round(1000 * (time.process_time() - start) / many, 1)

        start = time.perf_counter()
        answer(queries[0][0])
        first = time.perf_counter() - start
        reset_peak()
        fast = [answer(path) for path, _ in queries]
        peak = peak_bytes()
        collection.calibrate()
        usual = [usual_seconds(path) for path, _ in queries]
        exact, again, by_evidence = [], [], []
        for path, _ in queries[:EXACT]:
            again.append(answer(path)[1])
            by_evidence.append(found(path, "fast", 3)[1])
            exact.append(both(path))
        processor = {"fast": processor_ms("fast", min(20, len(queries))), "exact": processor_ms("exact", 3)}
    seconds = [value for _, value in fast]
    answer_rows: dict[str, Any] = {}
    for name, many in (("all", None), ("one right answer", 1), ("three right answers", 3)):
        group = [
            (correct, ids, of_evidence, truth)
            for (_, correct), (ids, _), of_evidence, truth in zip(queries, fast, by_evidence, exact, strict=False)
            if many in (None, len(correct))
        ]
        plain = [(correct, ids, truth.matches) for correct, ids, _, truth in group]
        decided = [(correct, ids, truth.evidence) for correct, _, ids, truth in group]
        answer_rows[name] = {
            "queries": len(group),
            "matches": {
                "same_first": sum(ids[:1] == truth[:1] for _, ids, truth in plain),
                "same_three": sum(ids == truth for _, ids, truth in plain),
                "right_kept": sum(correct & set(truth) <= set(ids) for correct, ids, truth in plain),
                "exact_three_all_right": sum(set(truth) <= correct for correct, _, truth in plain),
                "same_three_of_those": sum(ids == truth for correct, ids, truth in plain if set(truth) <= correct),
                "right_in_exact": sum(len(correct & set(truth)) for correct, _, truth in plain),
                "right_in_fast": sum(len(correct & set(ids)) for correct, ids, _ in plain),
            },
            "evidence": {
                "same_found": sum(ids == truth for _, ids, truth in decided),
                "found_kept": sum(set(truth) <= set(ids) for _, ids, truth in decided),
                "found_by_exact": sum(len(truth) for _, _, truth in decided),
                "found_by_fast": sum(len(ids) for _, ids, _ in decided),
                "right_in_exact": sum(len(correct & set(truth)) for correct, _, truth in decided),
                "right_in_fast": sum(len(correct & set(ids)) for correct, ids, _ in decided),
            },
        }
    ratio = [truth.seconds / other for truth, other in zip(exact, again, strict=True)]
    return {
        "queries": len(queries),
        "exact_queries": len(exact),
        "first_query_ms": round(1000 * first, 1),
        "fast_ms": {"p50": ms(seconds, 50), "p95": ms(seconds, 95)},
        "usual_ms": {"p50": ms(usual, 50), "p95": ms(usual, 95)},
        "exact_ms": {key: ms([one.seconds for one in exact], value) for key, value in (("p50", 50), ("p95", 95))},
        "times_as_fast": {
            "min": round(min(ratio), 1),
            "median": round(median(ratio), 1),
            "max": round(max(ratio), 1),
        },
        "processor_ms": processor,
        "answers": answer_rows,
        "resident_peak_bytes": peak,
        "load_while_asking": round(os.getloadavg()[0], 1),
    }


def agree(folder: str, size: int) -> dict[str, Any]:
    del size
    import imagefinder

    queries, _ = labelled_queries()
    levels = {"match": {"match"}, "match or possible": {"match", "possible"}}
    answers: dict[str, list[tuple[frozenset[str], list[str], list[str]]]] = {level: [] for level in levels}
    with imagefinder.open(Path(folder) / "local" / "c") as collection:
        collection.calibrate()
        for path, correct in queries[:AGREE]:
            modes = ("fast", "exact")
            hits = [collection.search(path, method="sift", mirror=False, mode=mode, k=3).hits for mode in modes]
            for level, decisions in levels.items():
                fast, exact = ([hit.id for hit in some if hit.decision in decisions] for some in hits)
                answers[level].append((correct, fast, exact))
    return {
        "queries": len(queries[:AGREE]),
        "answers": {
            level: {
                "same": sum(fast == exact for _, fast, exact in rows),
                "same_but_for_order": sum(set(fast) == set(exact) for _, fast, exact in rows),
                "kept": sum(set(exact) <= set(fast) for _, fast, exact in rows),
                "fast": sum(len(fast) for _, fast, _ in rows),
                "exact": sum(len(exact) for _, _, exact in rows),
                "right_in_fast": sum(len(correct & set(fast)) for correct, fast, _ in rows),
                "right_in_exact": sum(len(correct & set(exact)) for correct, _, exact in rows),
            }
            for level, rows in answers.items()
        },
    }


if __name__ == "__main__":
    parts.run_task({"grow": grow, "search": search, "agree": agree})
