from __future__ import annotations

import dataclasses
import json
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from make_collection import picture

import imagefinder
from imagefinder.core.query import Query, SearchOptions
from imagefinder.server.search_bytes import FORMAT, UNREADABLE, from_bytes, to_bytes
from imagefinder.server.search_cache import CachedSearch, SearchCache


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Any:
    settings = imagefinder.Settings(sift_max_keypoints=200, threads=1, isolate=False)
    with imagefinder.open(tmp_path_factory.mktemp("c") / "c", settings=settings) as opened:
        for number in range(3):
            opened.put(f"ä\0{number}", picture(number), metadata={"price": number}, uri=f"http://x/{number}")
        yield opened


def searched(collection: Any, query: Query) -> CachedSearch:
    trace = collection.trace(query, SearchOptions(where={"price": {"gte": 0}}))
    return CachedSearch("shop", trace, "0" * 64, (3, 4), collection.records(trace.result.ids))


QUERIES = [Query(picture(1)), Query(picture(1), boxes=((10.0, 5.0, 100.0, 80.0),)), Query(id="ä\0001")]


def test_the_text_of_a_query_is_kept(collection: Any) -> None:
    before = searched(collection, QUERIES[0])
    query = Query(id="a", text="coffee cup")
    words = CachedSearch(before.collection, dataclasses.replace(before.trace, query=query))
    after = from_bytes(to_bytes(words)).trace.query
    assert (after.id, after.text) == ("a", "coffee cup")


@pytest.mark.parametrize("query", QUERIES, ids=["image", "box", "id"])
def test_a_search_explains_its_hits_as_before(collection: Any, query: Query) -> None:
    before = searched(collection, query)
    after = from_bytes(to_bytes(before))
    assert (after.collection, after.sha256, after.size, after.records) == (
        "shop",
        "0" * 64,
        (3, 4),
        before.records,
    )
    assert after.trace.result == before.trace.result
    assert after.trace.options == before.trace.options
    ids = [*before.trace.result.ids, "ä\0000"]
    explained = [[collection.explain(one.trace, image_id) for image_id in ids] for one in (before, after)]
    assert explained[0] == explained[1]


def test_infinite_numbers_are_kept(collection: Any) -> None:
    before = searched(collection, QUERIES[0])
    hit = next(iter(before.trace.hits.values()))
    dict.__setitem__(hit.numbers, "x", float("-inf"))  # type: ignore[arg-type] # it is a dict
    assert next(iter(from_bytes(to_bytes(before)).trace.hits.values())).numbers["x"] == float("-inf")


@pytest.mark.parametrize("damage", ["empty", "noise", "cut", "version", "pickle", "lacking"])
def test_damaged_searches_are_errors_of_known_kinds(collection: Any, damage: str, tmp_path: Path) -> None:
    data = to_bytes(searched(collection, QUERIES[0]))
    arrays = safetensors.numpy.load(data)
    if damage == "version":
        document = json.loads(arrays["document"].tobytes()) | {"format": FORMAT + 1}
        arrays["document"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
    if damage == "lacking":
        del arrays["document"]
    cases = {"empty": b"", "noise": b"noise", "cut": data[: len(data) // 2]}
    cases["pickle"] = pickle.dumps(_Opens(tmp_path / "made"))
    changed = cases.get(damage, safetensors.numpy.save(arrays))
    with pytest.raises(UNREADABLE):
        from_bytes(changed)
    assert list(tmp_path.iterdir()) == []


class _Opens:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return open, (str(self._path), "w")


def test_the_cache_finds_searches_of_other_servers(collection: Any) -> None:
    class Shared:
        kept: dict[str, tuple[bytes, float]] = {}  # noqa: RUF012

        def add(self, handle: str, search: CachedSearch, expires: float) -> None:
            self.kept[handle] = (to_bytes(search), expires)

        def find(self, handle: str) -> tuple[CachedSearch, float] | None:
            if handle not in self.kept:
                return None
            data, expires = self.kept[handle]
            return from_bytes(data), expires

    one, two = (SearchCache(seconds=10, queries=5, max_bytes=10**7, shared=Shared()) for _ in range(2))
    cached = one.add(searched(collection, QUERIES[0]))
    assert cached.handle is not None
    assert cached.expires > time.time()
    found, expires = two.find(cached.handle)
    assert (found.trace.result, expires) == (one.search(cached.handle).trace.result, cached.expires)
