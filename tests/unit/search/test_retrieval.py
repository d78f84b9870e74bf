from dataclasses import replace

import numpy as np
import pytest
from runtimes import runtime

from imagefinder.ann.index import InvertedFileIndex
from imagefinder.core.features import FeatureSpec, GlobalFeatures
from imagefinder.core.filters import parse
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.method import Method
from imagefinder.core.query import Query, SearchOptions
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.core.stopwatch import Stopwatch
from imagefinder.matching.cosine import CosineMatcher
from imagefinder.search import retrieval
from imagefinder.search.allowed import Allowed
from imagefinder.search.encoding import encode, query_image
from imagefinder.search.retrieval import Gallery, Wanted, retrieve, searched
from imagefinder.search.searcher import Searcher
from imagefinder.stores.memory import MemoryStore

SPEC = FeatureSpec("global", 3, "float32")


class MeanColour:
    spec = SPEC

    def __init__(self, name):
        self.name = name

    def fingerprint(self):
        return Fingerprint(self.name, 1)

    def extract(self, images):
        return GlobalFeatures(np.array([i.mean((0, 1)) for i in images], np.float32).reshape(-1, 3))


def method(name="colour"):
    return Method(name, "", "cosine", MeanColour(name), CosineMatcher())


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (1, 1, 3), dtype=np.uint8).repeat(4, 0).repeat(5, 1)


@pytest.fixture
def store(monkeypatch):
    monkeypatch.setattr(retrieval, "PROPOSED", 20)
    store = MemoryStore()
    for name, images in (("colour", range(400)), ("other", range(200, 500))):
        made = method(name)
        store.register(made.extractor.fingerprint(), SPEC)
        for seed in images:
            features = {name: made.extractor.extract([picture(seed)])}
            if seed in range(200, 400) and name == "other":
                store.put_features(str(seed), features)
            else:
                metadata = {"odd": bool(seed % 2), "place": seed, "first": name == "colour"}
                store.put([Entry(ImageRecord(str(seed), "", "", 1, 5, 4, "PNG", metadata=metadata), features)])
    return store


def indexes(store, *names):
    return {name: InvertedFileIndex(store, name, SPEC) for name in names}


def scored(store, seed, names=("colour",), allowed=None):
    methods = [method(name) for name in names]
    encoded = list(zip(methods, encode(store, methods, query_image(picture(seed))), strict=True))
    made = indexes(store, *names)
    for index in made.values():
        index.refresh()
    wanted = Wanted(k=3, mirror=True)
    found = retrieve(Gallery(store, allowed=allowed, ann_indexes=made), encoded, wanted)
    return found, retrieve(Gallery(store), encoded, wanted)


def answer(store, image, k, made):
    options = SearchOptions("colour", k, "matches", evalues=False)
    searcher = Searcher(runtime(), Gallery(store, ann_indexes=made), [method()], lambda _: None)
    return searcher.search(Query(b""), query_image(image), options, Stopwatch()).result


def test_scores_are_those_of_an_exact_search_to_the_last_bit(store):
    (few,), (everything,) = scored(store, 1001)
    assert 20 <= len(few.rows) < 100
    for image_id, row in few.rows.items():
        assert few.values[row] == everything.values[everything.rows[image_id]]
    best = max(everything.rows, key=lambda image_id: everything.values[everything.rows[image_id]])
    assert best in few.rows


def test_covered_images_count_as_searched(store):
    (few,), _ = scored(store, 1001)
    assert searched([few]) == 400
    found, exact = scored(store, 1001, ("colour", "other"))
    assert searched(found) == searched(exact) == 500


def test_each_method_scores_the_proposals_of_the_others(store):
    (a, b), (all_a, all_b) = scored(store, 1001, ("colour", "other"))
    best = [max(s.rows, key=lambda i: s.values[s.rows[i]]) for s in (all_a, all_b)]
    for image_id in best:
        assert (image_id in a.rows) == (image_id in all_a.rows)
        assert (image_id in b.rows) == (image_id in all_b.rows)


@pytest.mark.parametrize("few", [1, 10_000])
def test_only_allowed_images_are_scored(store, monkeypatch, few):
    monkeypatch.setattr("imagefinder.search.allowed.FEW", few)
    where = parse({"odd": False, "first": True})
    allowed = Allowed.of(store, where, fast=True)
    assert (allowed.ids is None) == (few == 1)
    (found,), (everything,) = scored(store, 1002, allowed=allowed)
    assert {int(image_id) % 2 for image_id in found.rows} == {0}
    best = max(range(0, 400, 2), key=lambda seed: everything.values[everything.rows[str(seed)]])
    assert str(best) in found.rows
    assert searched([found]) == 200


def test_a_fast_search_finds_new_images(store):
    made = indexes(store, "colour")
    made["colour"].refresh()
    new = Entry(
        ImageRecord("new", "", "", 1, 5, 4, "PNG"), {"colour": method().extractor.extract([picture(7777)])}
    )
    store.put([new])
    store.delete(["5"])

    def search(seed, made):
        return answer(store, picture(seed), 5, made)

    result = search(7777, made)
    assert (result.mode, result.ids[0], result.searched) == ("fast", "new", 400)
    assert result.hits[0].score == search(7777, None).hits[0].score
    assert "5" not in search(5, made).ids


def test_an_empty_collection_gives_no_hits():
    store = MemoryStore()
    result = answer(store, picture(1), 3, indexes(store, "colour"))
    assert (result.hits, result.searched, result.mode) == ((), 0, "fast")


class CountingMatcher(CosineMatcher):
    def __init__(self):
        self.scored = []

    def score(self, query, gallery):
        self.scored += [tuple(vector) for vector in gallery.vectors.tolist()]
        return super().score(query, gallery)


@pytest.mark.parametrize("fast", [True, False])
def test_every_image_is_compared_once(store, fast):
    methods = [replace(method(name), matcher=CountingMatcher()) for name in ("colour", "other")]
    encoded = list(zip(methods, encode(store, methods, query_image(picture(1001))), strict=True))
    made = indexes(store, "colour", "other") if fast else None
    for index in (made or {}).values():
        index.refresh()
    for one, found in zip(methods, retrieve(Gallery(store, ann_indexes=made), encoded, Wanted(k=3)), strict=True):
        vectors = [features.vectors[0] for features in found.features_of(found.ids).values()]
        assert sorted(one.matcher.scored) == sorted(map(tuple, np.array(vectors).tolist()))
        assert len(one.matcher.scored) == len(found.ids)


def test_a_single_image_is_scored_as_in_the_search(store):
    methods = [method("colour"), method("other")]
    encoded = list(zip(methods, encode(store, methods, query_image(picture(1001))), strict=True))
    made = indexes(store, "colour", "other")
    for index in made.values():
        index.refresh()
    gallery = Gallery(store, ann_indexes=made)
    search = retrieve(gallery, encoded, Wanted(k=3))
    outside = next(str(seed) for seed in range(200, 400) if str(seed) not in search[0].rows)
    for image_id in (search[0].ids[0], outside):
        alone = retrieve(gallery, encoded, Wanted(k=3, only=image_id))
        exact = retrieve(Gallery(store), encoded, Wanted(k=3))
        for one, everything in zip(alone, exact, strict=True):
            assert (image_id in one.rows) == (image_id in everything.rows)
            if image_id in one.rows:
                assert one.values[one.rows[image_id]] == everything.values[everything.rows[image_id]]


def test_features_of_the_candidates_are_read_from_memory_or_selected(store):
    (few,), (everything,) = scored(store, 1001)
    for found in (few, everything):
        features = found.features_of([*few.ids, "unknown"])
        assert list(features) == list(few.ids)
        for image_id in few.ids:
            assert np.array_equal(features[image_id].vectors, store.features(image_id, "colour").vectors)
