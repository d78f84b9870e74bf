"""Explanations are derived from the trace of a search."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from runtimes import runtime

from imagefinder.collection import Collection
from imagefinder.core.errors import InputError, UnknownImageError
from imagefinder.core.query import Query, SearchOptions
from imagefinder.core.records import Entry
from imagefinder.core.settings import Settings
from imagefinder.search import retrieval, scoring
from imagefinder.stores.memory import MemoryStore
from imagefinder.testing.extractors import textured_image
from imagefinder.wiring import load_method

SETTINGS = Settings(store="memory")


def wide(seed):
    return textured_image(seed, 240, 320)


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "PNG")
    return buffer.getvalue()


class Confident:
    """Wraps a verifier, and makes its geometries less likely by chance."""

    def __init__(self, verifier):
        self.verifier = verifier

    def verify(self, *features, **sizes):
        found = self.verifier.verify(*features, **sizes)
        return found and replace(
            found, evidence=replace(found.evidence, log10_chance=5 * found.evidence.log10_chance)
        )


def small_sift():
    """A second local method, with fewer keypoints and smaller E-values."""
    method = load_method("sift", replace(SETTINGS, sift_max_keypoints=120, sift_max_side=200))
    extractor = method.extractor

    class Renamed:
        spec = extractor.spec
        extract = staticmethod(extractor.extract)

        @staticmethod
        def fingerprint():
            return replace(extractor.fingerprint(), method="small")

    return replace(method, name="small", extractor=Renamed(), verifier=Confident(method.verifier))


class CountingStore(MemoryStore):
    """Counts what a search reads."""

    scans = features_read = 0

    def scan(self, method):
        self.scans += 1
        return super().scan(method)

    def features(self, image_id, method):
        self.features_read += 1
        return super().features(image_id, method)


@pytest.fixture(scope="module")
def collection():
    methods = {"sift": lambda: load_method("sift", SETTINGS), "small": small_sift}
    with Collection(CountingStore(), runtime(SETTINGS, methods)) as collection:
        for seed in range(8):
            collection.put(str(seed), png(wide(seed)))
        yield collection


@pytest.mark.parametrize("seed", range(8))
def test_with_two_local_methods_the_matches_are_those_of_the_evidence(collection, seed):
    rotated = np.asarray(Image.fromarray(wide(seed)[30:220, 40:300]).rotate(seed * 5, expand=True))
    trace = collection.trace(Query(png(rotated)), SearchOptions())
    hit = trace.result.hits[0]
    assert hit.id == str(seed)
    for explanation in (collection.explain(trace, hit.id), collection.explain(png(rotated), hit.id)):
        assert explanation.evidence == hit.evidence
        assert explanation.evidence.method in {"sift", "small"}
        assert len(explanation.inliers) == explanation.evidence.inliers
        assert explanation.matches == explanation.evidence.matches
        # The number of matches is that of the method that the evidence names.
        method = collection.method(explanation.evidence.method)
        features = collection.store.features(hit.id, method.name)
        assert explanation.matches == len(method.matcher.matches(method.extractor.extract([rotated]), features))


def test_the_method_with_most_inliers_need_not_be_that_of_the_evidence(collection):
    """Shows that the test above is not trivial."""
    evidence = collection.search(wide(3)[:150]).hits[0].evidence
    other = collection.search(wide(3)[:150], method="sift").hits[0].evidence
    assert evidence.method == "small"
    assert evidence.inliers < other.inliers


def test_a_hit_is_explained_without_searching_again(collection):
    trace = collection.trace(Query(png(wide(3)[:150])), SearchOptions())
    store = collection.store
    before = store.scans, store.features_read
    first = trace.result.hits[0]
    explanation = collection.explain(trace, first.id)
    assert (store.scans, store.features_read) == before
    assert (explanation.score, explanation.evalue, explanation.decision, explanation.relation) == (
        first.score,
        first.evalue,
        first.decision,
        first.relation,
    )
    assert explanation == collection.explain(png(wide(3)[:150]), first.id)


def test_other_images_are_assessed_alone(collection):
    trace = collection.trace(Query(png(wide(3))), SearchOptions(k=1))
    other = next(image_id for image_id in "01245" if image_id not in trace.hits)
    explanation = collection.explain(trace, other)
    assert (explanation.id, explanation.decision) == (other, "none")
    with pytest.raises(UnknownImageError):
        collection.explain(trace, "not there")


def test_another_method_than_the_search_had_is_assessed_alone(collection):
    trace = collection.trace(Query(png(wide(3)[:150])), SearchOptions())
    explanation = collection.explain(trace, "3", method="small")
    assert (explanation.method, explanation.evidence.method) == ("small", "small")


def test_replaced_images_are_compared_again():
    with Collection(
        MemoryStore(), runtime(SETTINGS, {"sift": lambda: load_method("sift", SETTINGS)})
    ) as collection:
        for seed in range(4):
            collection.put(str(seed), png(wide(seed)))
        trace = collection.trace(Query(png(wide(1)[:150])), SearchOptions())
        assert collection.explain(trace, "1").relation == "part of"
        collection.put("1", png(wide(50)))
        assert collection.explain(trace, "1").evidence is None
        collection.remove("1")
        with pytest.raises(UnknownImageError):
            collection.explain(trace, "1")


def test_thresholds_drop_hits(collection):
    query = Query(png(wide(2)))
    every = collection.trace(query, SearchOptions(k=9)).result
    assert len(every.hits) == 8
    few = collection.trace(query, SearchOptions(k=9, max_evalue=0.01)).result
    assert few.hits == every.hits[:1]
    assert collection.trace(query, SearchOptions(k=9, min_score=every.hits[1].score)).result.hits == every.hits[:2]
    nothing = collection.trace(query, SearchOptions(k=9, min_score=1e9)).result
    assert (nothing.hits, nothing.decision) == ((), "none")


def test_it_reports_its_memory(collection):
    data = png(wide(2))
    trace = collection.trace(Query(data), SearchOptions())
    assert len(data) < trace.nbytes < len(data) + 200_000
    assert trace.image.pixels.size == 0


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_the_rerank_depth_sets_the_number_of_verified_images(collection, mode):
    query = Query(png(wide(2)))
    verified = [
        collection.trace(query, SearchOptions(mode=mode, rerank_depth=n)).result.verified for n in (1, 2, 8)
    ]
    assert verified[0] <= 2 < verified[2] == 8
    assert verified == sorted(verified)


def test_a_replaced_stored_query_is_compared_again():
    methods = {"sift": lambda: load_method("sift", SETTINGS)}
    with Collection(MemoryStore(), runtime(SETTINGS, methods)) as collection:
        for seed in range(4):
            collection.put(str(seed), png(wide(seed)))
        collection.put("query", png(wide(1)[:150]))
        trace = collection.trace(Query(id="query"), SearchOptions())
        assert collection.explain(trace, "1").relation == "part of"
        collection.put("query", png(wide(60)))
        assert collection.explain(trace, "1").evidence is None


def test_an_image_stored_without_its_hash_that_was_replaced_since_is_compared_again():
    methods = {"sift": lambda: load_method("sift", SETTINGS)}
    with Collection(MemoryStore(), runtime(SETTINGS, methods)) as collection:
        for seed in range(4):
            collection.put(str(seed), png(wide(seed)))

        def put_without_hash(seed):
            collection.put("1", png(wide(seed)))
            record, features = collection.store.get("1"), collection.store.features("1", "sift")
            collection.store.put([Entry(replace(record, sha256=""), {"sift": features})])

        put_without_hash(1)
        trace = collection.trace(Query(png(wide(1)[:150])), SearchOptions())
        assert collection.explain(trace, "1").evidence
        put_without_hash(50)
        assert collection.explain(trace, "1").evidence is None


def test_an_array_may_change_after_the_search(collection):
    pixels = wide(3)[:150].copy()
    trace = collection.trace(Query(pixels), SearchOptions())
    before = collection.explain(trace, "5", method="sift")
    pixels[:] = 0
    assert collection.explain(trace, "5", method="sift") == before


def test_an_image_without_features_of_the_only_method_whose_score_is_a_test_is_explained():
    """Matches of keypoints alone are no test where a method without keypoints answers too."""
    names = ("sift", "efficientnet-lite0")
    methods = {name: lambda name=name: load_method(name, SETTINGS) for name in names}
    with Collection(MemoryStore(), runtime(SETTINGS, methods)) as collection:
        for seed in range(5):
            collection.put(str(seed), png(wide(seed)))
        features = collection.store.features("4", "sift")
        record = collection.store.get("4")
        collection.store.delete(["4"])
        collection.store.put([Entry(record, {"sift": features})])
        explanation = collection.explain(png(textured_image(77, 60, 60)), "4")
        assert explanation.decision == "none"
        assert explanation.evalue == pytest.approx(5)  # as many as were searched


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_an_image_assessed_alone_has_the_numbers_of_the_search(monkeypatch, mode):
    """Where the mirror image is compared sparingly, the numbers depend on the other images."""
    monkeypatch.setattr(scoring, "MIRROR_DESCRIPTORS", 30)
    monkeypatch.setattr(scoring, "MIRROR_DEPTH", 2)
    monkeypatch.setattr(retrieval, "PROPOSED", 3)
    names = ("sift", "efficientnet-lite0")
    methods = {name: lambda name=name: load_method(name, SETTINGS) for name in names}
    with Collection(MemoryStore(), runtime(SETTINGS, methods)) as collection:
        for seed in range(9):
            collection.put(str(seed), png(wide(seed)))
        collection.calibrate()
        trace = collection.trace(Query(png(wide(3)[:150, ::-1])), SearchOptions(k=9, mode=mode, rerank_depth=3))
        assert trace.result.hits[0].evidence.mirrored
        for image_id, hit in trace.hits.items():
            again = collection.explain(replace(trace, hits={}), image_id)
            # Alone, an image is always compared by its thumbnail.
            assert again.numbers == {**again.numbers, **hit.numbers}


def test_a_drawing_by_id_needs_the_image_that_was_explained():
    methods = {"sift": lambda: load_method("sift", SETTINGS)}
    with Collection(MemoryStore(), runtime(SETTINGS, methods)) as collection:
        for seed in range(4):
            collection.put(str(seed), png(wide(seed)))
        explanation = collection.explain(Query(id="0"), "1")
        assert collection.draw(explanation, Query(id="0"))
        collection.put("0", png(wide(0)[:100]))
        with pytest.raises(InputError):
            collection.draw(explanation, Query(id="0"))
