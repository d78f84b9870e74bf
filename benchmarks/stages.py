"""Does the fast mode give the exact answer on large collections, and what does it cost?

**The collection** (sift): the 500 pictures of the set ``copy``; of every fifth picture that a query shows, two
edited versions more (three quarters of the size, or a crop of 81 %, JPEG quality 60); the rest, up to each of
``BENCH_SIZES`` images (by default 10 000 and 100 000), are distractors made of real descriptors: as many as a real
picture of the pool has, taken from eight pictures of the pool, from each those around a random keypoint (so that
patches keep their textures and their neighbours), plus noise of deviation 10 per element that is not 0, brought to
length 512 and rounded. The pool are 400 pictures of ``clothing``, ``grocery`` and ``places`` and those of ``copy``
that no query asks for, so that nothing in a distractor is a true match. The collection grows from size to size by
adding, the index with it.

**The queries**: ``BENCH_QUERIES`` edited pictures of ``copy`` (seeded; crops, screenshots, collages, turns) that
have a right answer among the images. Half of them have one right answer, where the exact answer's second and third
place go to chance: the two of all images that happen to have the most matches. Half have three right answers.
``BENCH_EXACT`` of the queries are also answered exactly, in turn. ``answers`` compares the two orders: by matches
(``ranking=matches``) the three best; by evidence (without mirror images, which would take the exact search twice
as long) those of the three best that are found, that is, whose decision is not ``none``. Times are those of the
plain order without E-values.

**agreement**: in a collection of each size, ``BENCH_AGREE`` (100) of the queries by evidence in both modes: are
the answers the same, of those called a match, and of those called at least possible? Chance decides about the
latter where an E-value is near 1. No times are taken.

**Global vectors**: ``BENCH_VECTORS`` (1 000 000) vectors of 2048 like those of a pooled network: each the positive
part of a mixture of 64 of 4 096 random directions plus noise, about 50 to a topic; queries are noisy versions of
stored ones. Recall of the exact ten best.

**faiss**: ``BENCH_BESIDE`` (200 000) of them. Where faiss is installed (``make bench-peers`` makes such an
environment), its indexes with one byte per number answer the same queries beside ours, on the same two cores, with
as many candidates (64) scored exactly from a mapped file: cells (``IVF``) and a graph (``HNSW``), of all 2048
numbers or of 256 after its ``PCA``. ``BENCH_FAISS`` names them, by faiss's names.

Seconds are of ``match`` and ``index`` together: all but reading and extraction. The processor may be shared with
other work: the load is in the answer.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from imagefinder.core.features import LocalFeatures, concatenate
from imagefinder.images.decode import decode

DATASETS = Path(os.environ.get("BENCH_DATASETS", Path(__file__).parents[2] / "shared" / "data"))
SIZES = [int(size) for size in os.environ.get("BENCH_SIZES", "10000,100000").split(",")]
QUERIES = int(os.environ.get("BENCH_QUERIES", "200"))
EXACT = int(os.environ.get("BENCH_EXACT", "60"))
AGREE = int(os.environ.get("BENCH_AGREE", "100"))
VECTORS = int(os.environ.get("BENCH_VECTORS", "1000000"))
BESIDE = int(os.environ.get("BENCH_BESIDE", "200000"))
ALL_PARTS = ("local", "agreement", "global", "faiss")
OF_PICTURES = {"local", "agreement"}
PARTS = os.environ.get("BENCH_PARTS", ",".join(ALL_PARTS)).split(",")
FAISS = os.environ.get("BENCH_FAISS", "IVF{cells},SQ8;PCA256,IVF{cells},SQ8;PCA256,HNSW32_SQ8").split(";")
FOLDER = os.environ.get("BENCH_FOLDER")


def main() -> None:
    with working_folder() as folder:
        parts = set(PARTS)
        if parts & OF_PICTURES and not (DATASETS / "copy" / "manifest.json").is_file():
            print(
                f"skipped: {', '.join(parts & OF_PICTURES)}: no {DATASETS}/copy/manifest.json (set BENCH_DATASETS)"
            )
            parts -= OF_PICTURES
        if "local" in parts:
            rows: list[dict[str, Any]] = []
            for size in SIZES:
                rows.append({**child("grow", folder, size), **child("ask", folder, size)})
                print(rows[-1], flush=True)
                keep("local", rows)
            shutil.rmtree(Path(folder) / "local")
        if "agreement" in parts:
            place = Path(folder) / "agreement"
            place.mkdir(exist_ok=True)
            rows = []
            for size in SIZES:
                images = child("grow", str(place), size)["images"]
                rows.append({"images": images, **child("agree", str(place), size)})
                keep("agreement", rows)
            shutil.rmtree(place)
        if "global" in parts:
            keep("global", filled(folder, VECTORS))
        if "faiss" in parts and find_spec("faiss"):
            row = {**filled(folder, BESIDE), "faiss": []}
            for kind in FAISS:
                row["faiss"].append(child("faiss", str(Path(folder) / f"{BESIDE} vectors"), BESIDE, kind))
                print(row["faiss"][-1], flush=True)
                keep("faiss", row)


def filled(folder: str, size: int) -> dict[str, Any]:
    """So many vectors stored, indexed and asked."""
    place = Path(folder) / f"{size} vectors"
    place.mkdir(exist_ok=True)
    return {**child("fill", str(place), size), **child("recall", str(place), size)}


def keep(part: str, rows: Any) -> None:
    """Write one part, with what it was measured on; the other one stays as it is."""
    from benchmarks.contract import RESULTS, command, machine, write

    before = RESULTS / "stages.json"
    known = json.loads(before.read_text(encoding="utf-8")) if before.exists() else {}
    parts = {name: known[name] for name in ALL_PARTS if name in known}
    measured = known.get("parts_measured_on", {})
    measured[part] = {**machine(), "command": command("stages")}
    write("stages", {**parts, part: rows, "parts_measured_on": measured})


@contextlib.contextmanager
def working_folder() -> Iterator[str]:
    """``BENCH_FOLDER/stages``, in which a run that was interrupted goes on, or a folder of this run."""
    if FOLDER:
        kept = Path(FOLDER) / "stages"
        kept.mkdir(exist_ok=True)
        yield str(kept)
        shutil.rmtree(kept)
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield folder


def child(what: str, folder: str, size: int, *more: str) -> dict[str, Any]:
    """A process of its own, so that memory is that of this task alone; what it said before is not asked again."""
    said = Path(folder) / f"{'-'.join([what, str(size), *more]).replace('/', '_')}.json"
    if said.exists():
        return json.loads(said.read_text(encoding="utf-8"))
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.stages", what, folder, str(size), *more],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("IMAGEFINDER_")},
    )
    said.write_text(run.stdout.splitlines()[-1], encoding="utf-8")
    return json.loads(said.read_text(encoding="utf-8"))


# -- local ---------------------------------------------------------------------------------------------------


def questions() -> tuple[list[tuple[Path, frozenset[str]]], dict[str, str]]:
    """Queries with their right answers; and id -> original of the edited versions that are stored."""
    from imagefinder.evaluation.datasets import read_manifest

    copy = read_manifest(DATASETS / "copy")
    asked = [query for query in copy.queries if len(query.positives) == 1]
    shown = sorted({image for query in asked for image in query.positives})
    series = {f"series/{number}/{image}": image for image in shown[::5] for number in (1, 2)}
    rng = np.random.default_rng(0)
    groups: dict[int, list[tuple[Path, frozenset[str]]]] = {1: [], 3: []}
    for query in asked:
        right = query.positives | {made for made, image in series.items() if image in query.positives}
        groups[len(right)].append((query.path, right))
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

    root = Path(folder) / "local"
    with imagefinder.open(root / "c") as collection:
        method = collection.method("sift")
        copy = read_manifest(DATASETS / "copy")
        add_gallery(collection, copy, ["sift"])
        series = questions()[1]
        there = collection.store.status(list(series))
        for name, original in series.items():
            if name not in there:
                collection.put(name, edited(copy.root / original, int(name.split("/")[1])))
        pool = Pool(collection, copy, Path(folder) / "pool.npz")
        collection.store.register(method.extractor.fingerprint(), method.extractor.spec)
        start, first = time.perf_counter(), collection.info().images
        for begin in range(first, size, 500):
            entries = []
            for number in range(begin, min(size, begin + 500)):
                descriptors, keypoints = pool.distractor(number)
                features = LocalFeatures(descriptors, keypoints, np.array([0, len(descriptors)], dtype=np.int64))
                record = ImageRecord(f"made/{number:07}", "", "", 0, 1024, 768, "JPEG")
                entries.append(Entry(record, {"sift": features}))
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


class Pool:
    """Real descriptors in memory, and what is made of them."""

    def __init__(self, collection: Any, copy: Any, kept: Path) -> None:
        if not kept.exists():
            batch = self.extracted(collection, copy)
            np.savez(kept, descriptors=batch.descriptors, keypoints=batch.keypoints, offsets=batch.offsets)
        read = np.load(kept)
        batch = LocalFeatures(read["descriptors"], read["keypoints"], read["offsets"])
        self.pictures = [one for one in map(batch.image, range(len(batch))) if len(one.descriptors) >= 20]
        self.counts = np.array([len(picture.descriptors) for picture in self.pictures])
        self.noise = np.random.default_rng(7).normal(0, 10, 1 << 23).astype(np.float32)

    @staticmethod
    def extracted(collection: Any, copy: Any) -> Any:
        spoken_of = {image for query in copy.queries for image in query.positives | query.ignore}
        paths = [copy.root / image for image in copy.images if image not in spoken_of]
        for name in ("clothing", "grocery", "places"):
            paths += sorted((DATASETS / name).rglob("*.jpg"))
        order = np.random.default_rng(3).permutation(len(paths))[:400]
        paths = [paths[place] for place in order.tolist()]
        extractor, parts = collection.method("sift").extractor, []
        for begin in range(0, len(paths), 16):
            some = [path.read_bytes() for path in paths[begin : begin + 16]]
            parts.append(
                extractor.extract([decode(data, max_bytes=1 << 30, max_pixels=1 << 28).rgb for data in some])
            )
        return concatenate(extractor.spec, parts)

    def distractor(self, number: int) -> tuple[Any, Any]:
        rng = np.random.default_rng((11, number))
        parts, places = [], []
        for rows in np.array_split(np.arange(rng.choice(self.counts)), 8):
            picture = self.pictures[rng.integers(len(self.pictures))]
            points = picture.keypoints[:, :2]
            far = ((points - points[rng.integers(len(points))]) ** 2).sum(axis=1)
            many = min(len(rows), len(far))
            near = np.argpartition(far, many - 1)[:many] if many else np.empty(0, dtype=np.int64)
            parts.append(picture.descriptors[near])
            places.append(picture.keypoints[near])
        real = np.concatenate(parts).astype(np.float32)
        begin = int(rng.integers(len(self.noise) - real.size))
        real += self.noise[begin : begin + real.size].reshape(real.shape) * (real > 0)
        np.maximum(real, 0, out=real)
        real *= 512 / np.maximum(np.linalg.norm(real, axis=1, keepdims=True), 1)
        return np.rint(np.minimum(real, 255)).astype(np.uint8), np.concatenate(places)


@dataclass(frozen=True)
class Answers:
    """What the exact search says: the three best by matches, what is found of those by evidence, its seconds."""

    matches: list[str]
    evidence: list[str]
    seconds: float


def seconds_of(result: Any) -> float:
    return sum(result.timings.get(stage, 0.0) for stage in ("index", "match"))


def ask(folder: str, size: int) -> dict[str, Any]:
    del size
    import imagefinder
    from imagefinder.evaluation.memory import forget_peak, peak_bytes

    queries, _ = questions()
    with imagefinder.open(Path(folder) / "local" / "c") as collection:

        def answer(path: Path) -> tuple[list[str], float]:
            """The plain order, fast."""
            result = collection.search(path, method="sift", ranking="matches", evalues=False, mode="fast")
            assert result.mode == "fast"
            return result.ids, seconds_of(result)

        def found(path: Path, mode: str, k: int) -> tuple[Any, list[str]]:
            """What a search by evidence says, and what of its three best is found."""
            result = collection.search(path, method="sift", mirror=False, mode=mode, k=k)
            assert result.mode == mode
            return result, [hit.id for hit in result.hits[:3] if hit.decision != "none"]

        def both(path: Path) -> Answers:
            """Exactly, by matches and by evidence: one search says both, as each hit has its score."""
            result, its = found(path, "exact", collection.info().images)
            plain = sorted(result.hits, key=lambda hit: (-hit.score, hit.id))[:3]
            return Answers([hit.id for hit in plain], its, seconds_of(result))

        def processor_ms(mode: str, many: int) -> float:
            """Of one stored picture, which needs no extraction: all threads together, whatever else runs here."""
            names = [right for _, (right, *_) in ((p, sorted(r)) for p, r in queries[:many])]
            start = time.process_time()
            for name in names:
                collection.search(id=name, method="sift", ranking="matches", evalues=False, mode=mode)
            return round(1000 * (time.process_time() - start) / many, 1)

        start = time.perf_counter()
        answer(queries[0][0])
        first = time.perf_counter() - start
        forget_peak()
        fast = [answer(path) for path, _ in queries]
        peak = peak_bytes()
        collection.learn()
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
            (right, ids, of_evidence, truth)
            for (_, right), (ids, _), of_evidence, truth in zip(queries, fast, by_evidence, exact, strict=False)
            if many in (None, len(right))
        ]
        plain = [(right, ids, truth.matches) for right, ids, _, truth in group]
        judged = [(right, ids, truth.evidence) for right, _, ids, truth in group]
        answer_rows[name] = {
            "queries": len(group),
            "matches": {
                "same_first": sum(ids[:1] == truth[:1] for _, ids, truth in plain),
                "same_three": sum(ids == truth for _, ids, truth in plain),
                "right_kept": sum(right & set(truth) <= set(ids) for right, ids, truth in plain),
                "exact_three_all_right": sum(set(truth) <= right for right, _, truth in plain),
                "same_three_of_those": sum(ids == truth for right, ids, truth in plain if set(truth) <= right),
                "right_in_exact": sum(len(right & set(truth)) for right, _, truth in plain),
                "right_in_fast": sum(len(right & set(ids)) for right, ids, _ in plain),
            },
            "evidence": {
                "same_found": sum(ids == truth for _, ids, truth in judged),
                "found_kept": sum(set(truth) <= set(ids) for _, ids, truth in judged),
                "found_by_exact": sum(len(truth) for _, _, truth in judged),
                "found_by_fast": sum(len(ids) for _, ids, _ in judged),
                "right_in_exact": sum(len(right & set(truth)) for right, _, truth in judged),
                "right_in_fast": sum(len(right & set(ids)) for right, ids, _ in judged),
            },
        }
    ratio = [truth.seconds / other for truth, other in zip(exact, again, strict=True)]
    return {
        "queries": len(queries),
        "exact_queries": len(exact),
        "first_query_ms": round(1000 * first, 1),
        "fast_ms": {"p50": ms(seconds, 50), "p95": ms(seconds, 95)},
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

    queries, _ = questions()
    levels = {"match": {"match"}, "match or possible": {"match", "possible"}}
    answers: dict[str, list[tuple[frozenset[str], list[str], list[str]]]] = {level: [] for level in levels}
    with imagefinder.open(Path(folder) / "local" / "c") as collection:
        collection.learn()
        for path, right in queries[:AGREE]:
            modes = ("fast", "exact")
            hits = [collection.search(path, method="sift", mirror=False, mode=mode, k=3).hits for mode in modes]
            for level, decisions in levels.items():
                fast, exact = ([hit.id for hit in some if hit.decision in decisions] for some in hits)
                answers[level].append((right, fast, exact))
    return {
        "queries": len(queries[:AGREE]),
        "answers": {
            level: {
                "same": sum(fast == exact for _, fast, exact in rows),
                "same_but_for_order": sum(set(fast) == set(exact) for _, fast, exact in rows),
                "kept": sum(set(exact) <= set(fast) for _, fast, exact in rows),
                "fast": sum(len(fast) for _, fast, _ in rows),
                "exact": sum(len(exact) for _, _, exact in rows),
                "right_in_fast": sum(len(right & set(fast)) for right, fast, _ in rows),
                "right_in_exact": sum(len(right & set(exact)) for right, _, exact in rows),
            }
            for level, rows in answers.items()
        },
    }


def ms(values: list[float], percent: float) -> float:
    return round(1000 * float(np.percentile(values, percent)), 1)


# -- global --------------------------------------------------------------------------------------------------


def vectors(begin: int, end: int, size: int) -> np.ndarray:
    rng = np.random.default_rng((5, begin))
    directions = np.random.default_rng(6).standard_normal((4096, 2048), dtype=np.float32)
    made = np.empty((end - begin, 2048), dtype=np.float32)
    for row in range(end - begin):
        topic = np.random.default_rng((8, (begin + row) % max(1, size // 50)))  # about 50 vectors to a topic
        chosen = topic.choice(4096, 64, replace=False)
        weights = topic.exponential(size=64) * rng.normal(1, 0.35, 64)
        made[row] = weights.astype(np.float32) @ directions[chosen]
    made += rng.standard_normal(made.shape, dtype=np.float32) * 2
    return np.maximum(made, 0)


def fill(folder: str, size: int) -> dict[str, Any]:
    from imagefinder.core.features import FeatureSpec, GlobalFeatures
    from imagefinder.core.fingerprint import Fingerprint
    from imagefinder.core.records import Entry, ImageRecord
    from imagefinder.shortlists.index import InvertedShortlist
    from imagefinder.stores.embedded import EmbeddedStore

    store = EmbeddedStore(Path(folder) / "global", create=True, cache_bytes=0)
    spec = FeatureSpec("global", 2048, "float32")
    store.register(Fingerprint("made", 1), spec)
    for begin in range(store.info().images, size, 1000):
        some = vectors(begin, min(size, begin + 1000), size)
        store.put(
            [
                Entry(
                    ImageRecord(f"made/{begin + row:07}", "", "", 0, 1, 1, "JPEG"),
                    {"made": GlobalFeatures(some[row : row + 1])},
                )
                for row in range(len(some))
            ]
        )
    index = InvertedShortlist(store, "made", spec)
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


def recall(folder: str, size: int) -> dict[str, Any]:
    from imagefinder.core.features import FeatureSpec, GlobalFeatures
    from imagefinder.evaluation.memory import forget_peak, peak_bytes
    from imagefinder.kernels.cosine import cosine
    from imagefinder.search.ranking import best
    from imagefinder.search.shortlisting import PROPOSED
    from imagefinder.shortlists.index import InvertedShortlist
    from imagefinder.stores.embedded import EmbeddedStore

    spec, store = (
        FeatureSpec("global", 2048, "float32"),
        EmbeddedStore(Path(folder) / "global", create=False, cache_bytes=0),
    )
    rng = np.random.default_rng(9)
    rows = rng.choice(size, 100, replace=False).tolist()
    asked = [store.features(f"made/{row:07}", "made").vectors for row in rows]
    asked = [np.maximum(v + rng.standard_normal(v.shape, dtype=np.float32) * 2, 0) for v in asked]
    index = InvertedShortlist(store, "made", spec)

    def fast(vector: np.ndarray) -> list[str]:
        proposed = index.propose(GlobalFeatures(vector), PROPOSED)
        _, block = store.load("made", np.sort(proposed.keys))
        return [name for name, _ in best(block.ids, cosine(vector[0], block.features.vectors), 10)]

    fast(asked[0])
    forget_peak()
    found, seconds = [], []
    for vector in asked:
        start = time.perf_counter()
        found.append(fast(vector))
        seconds.append(time.perf_counter() - start)
    peak = peak_bytes()
    kept = Path(folder) / "asked.npz"
    if not kept.exists():
        truth: list[list[tuple[str, float]]] = [[] for _ in asked]
        start = time.perf_counter()
        for block in store.scan("made"):
            for number, vector in enumerate(asked):
                some = best(block.ids, cosine(vector[0], block.features.vectors), 10)
                truth[number] = sorted(truth[number] + some, key=lambda pair: (-pair[1], pair[0]))[:10]
        exact = (time.perf_counter() - start) / len(asked)
        rows_of = [[int(name.removeprefix("made/")) for name, _ in one] for one in truth]
        np.savez(kept, asked=np.concatenate(asked), truth=np.array(rows_of), exact=exact)
    known = np.load(kept)
    names = [[f"made/{row:07}" for row in one] for one in known["truth"].tolist()]
    return {
        **quality(found, names, seconds),
        "exact_ms_each_of_all_at_once": round(1000 * float(known["exact"]), 1),
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
    """The same vectors and queries with an index of faiss, at several efforts."""
    import faiss

    from imagefinder.evaluation.memory import forget_peak, peak_bytes
    from imagefinder.search.shortlisting import PROPOSED

    stored = stored_vectors(folder, size)
    known = np.load(Path(folder) / "asked.npz")
    cells = max(1, min(4096, size // 256))  # as many as ours
    index = faiss.index_factory(2048, kind.format(cells=cells))  # by distance: its PCA moves the origin
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
    forget_peak()
    rows = []
    for effort in (16, 48, 128) if "IVF" in kind else (64, 200, 400):
        if "IVF" in kind:
            inner.nprobe = effort
        else:
            inner.hnsw.efSearch = effort
        found, seconds = [], []
        for number, vector in enumerate([known["asked"][0], *known["asked"]]):
            begun = time.perf_counter()
            unit = (vector / np.linalg.norm(vector))[None]
            proposed = np.sort(index.search(unit, PROPOSED)[1][0])
            scores = stored[proposed[proposed >= 0]] @ unit[0]
            best = proposed[proposed >= 0][np.argsort(-scores, kind="stable")[:10]].tolist()
            if number:  # the first is for warming up
                seconds.append(time.perf_counter() - begun)
                found.append(best)
        rows.append({"effort": effort, **quality(found, known["truth"].tolist(), seconds)})
    return {
        "index": kind.format(cells=cells),
        "seconds_to_index": round(built, 1),
        "index_bytes_per_image": round(kept.stat().st_size / size),
        "resident_peak_bytes": peak_bytes(),
        "by_effort": rows,
        "load_while_asking": round(os.getloadavg()[0], 1),
    }


def stored_vectors(folder: str, size: int) -> Any:
    """All vectors at length 1, ``(size, 2048)`` float32, mapped from a file that is made once."""
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
    tasks: dict[str, Callable[..., dict[str, Any]]] = {
        "grow": grow,
        "ask": ask,
        "agree": agree,
        "fill": fill,
        "recall": recall,
        "faiss": by_faiss,
    }
    print(json.dumps(tasks[sys.argv[1]](sys.argv[2], int(sys.argv[3]), *sys.argv[4:])))
