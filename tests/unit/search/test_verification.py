"""Searches by evidence, and explanations, on synthetic images."""

import io

import numpy as np
import pytest
from copied import fill
from PIL import Image, ImageFilter
from runtimes import runtime

import imagefinder
from imagefinder.core.errors import InputError, UnknownImageError
from imagefinder.core.query import Query, SearchOptions
from imagefinder.core.records import Entry
from imagefinder.core.serialization import to_json
from imagefinder.core.settings import Settings
from imagefinder.core.stopwatch import Stopwatch
from imagefinder.search import null_model
from imagefinder.search.encoding import query_image
from imagefinder.search.retrieval import Gallery
from imagefinder.search.searcher import Searcher
from imagefinder.stores.memory import MemoryStore
from imagefinder.testing.extractors import textured_image
from imagefinder.wiring import load_method

SEEDS = 8


def wide(seed):
    return textured_image(seed, 240, 320)


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def filled(collection):
    for seed in range(SEEDS):
        collection.put(f"{seed}", png(wide(seed)))
    return collection


@pytest.fixture(scope="module")
def collection():
    """For tests that change nothing."""
    with imagefinder.open(settings=Settings(store="memory")) as collection:
        yield filled(collection)


@pytest.fixture
def own(collection):
    """The same images, for one test alone."""
    with imagefinder.open(settings=Settings(store="memory")) as own:
        yield fill(own, collection)


def without_keypoints(collection, image_id):
    """Features as after an import: descriptors without positions."""
    store = collection.store
    features = store.features(image_id, "sift")
    places = np.zeros_like(features.keypoints)
    places[:, 3] = -1
    stripped = type(features)(features.descriptors, places, features.offsets)
    store.put([Entry(store.get(image_id), {"sift": stripped})])


@pytest.mark.parametrize("method", ["auto", "sift", "efficientnet-lite0"])
def test_a_crop_is_located_by_any_method(collection, method):
    result = collection.search(wide(2)[40:200, 60:300], method=method)
    assert (result.method, result.ranking, result.decision) == (method, "evidence", "match")
    assert set(result.timings) == {"decode", "extract", "match", "verify", "decide", "total"}
    first = result.hits[0]
    assert (first.id, first.decision, first.relation) == ("2", "match", "part of")
    assert first.evalue < 0.01
    assert np.allclose(first.evidence.candidate_outline[0], (59.5, 39.5), atol=3)
    assert first.evidence.query_overlap == pytest.approx(1, abs=0.03)
    assert first.evidence.candidate_overlap == pytest.approx(160 * 240 / (240 * 320), abs=0.03)
    assert first.evidence.agreement > 0.7
    assert first.evidence.log10_chance < -8
    written = to_json(result)["hits"][0]
    assert written["evidence"]["inliers"] == first.evidence.inliers
    assert (written["decision"], written["relation"], written["evalue"]) == ("match", "part of", first.evalue)


def test_all_methods_are_used_and_reported(collection):
    result = collection.search(wide(2))
    assert set(result.fingerprints) == set(result.hits[0].methods) == {"efficientnet-lite0", "sift"}
    assert result.hits[0].score == pytest.approx(-np.log10(result.hits[0].evalue))


def test_no_match(collection):
    results = [collection.search(wide(seed)) for seed in range(90, 98)]
    decisions = [result.decision for result in results]
    # By chance, about one image reaches an E-value of 1, so some are possible matches, but none is a match.
    assert decisions.count("none") >= 5
    assert "match" not in decisions
    for result in results:
        if result.decision == "none":
            assert {hit.relation for hit in result.hits} == {"similar"}
            assert all(hit.evalue > 1 for hit in result.hits)


def test_identical_by_bytes_by_pixels_and_not_after_an_edit(own):
    assert own.search(png(wide(3))).hits[0].relation == "identical"
    alike = own.search(wide(3)).hits[0]  # no file is stored, so that nothing more can be compared
    assert (alike.relation, alike.note) == ("edited copy", "looks the same at this resolution")
    brighter = np.clip(wide(3).astype(int) + 25, 0, 255).astype(np.uint8)
    assert own.search(brighter).hits[0].relation == "edited copy"
    blank = np.full((60, 80, 3), 250, np.uint8)
    own.put("blank", png(blank))
    first = own.search(png(blank)).hits[0]
    assert (first.id, first.relation, first.decision) == ("blank", "identical", "match")


def test_a_page_that_contains_an_image(collection):
    page = np.full((600, 800, 3), 235, np.uint8)
    page[150:390, 200:520] = wide(5)
    first = collection.search(page).hits[0]
    assert (first.id, first.relation) == ("5", "contains")
    assert first.evidence.candidate_overlap == pytest.approx(1, abs=0.03)


def test_a_network_alone_compares_thumbnails(collection):
    blurred = np.asarray(Image.fromarray(wide(6)).filter(ImageFilter.GaussianBlur(3)))
    first = collection.search(blurred, method="efficientnet-lite0").hits[0]
    assert (first.id, first.decision, first.relation) == ("6", "match", "edited copy")
    assert first.evidence.found_by == "thumbnails"


def test_ranking_by_matches_is_that_of_the_method(collection):
    result = collection.search(wide(2), method="sift", ranking="matches", evalues=False)
    assert (result.ranking, result.verified) == ("matches", 0)
    assert "verify" not in result.timings
    assert all((hit.evidence, hit.evalue, hit.relation) == (None, None, None) for hit in result.hits)
    by_matches = collection.search(wide(2), method="sift", ranking="matches")
    assert [(hit.id, hit.score) for hit in by_matches.hits] == [(hit.id, hit.score) for hit in result.hits]
    assert by_matches.hits[0].evalue < by_matches.hits[1].evalue


@pytest.mark.parametrize("method", ["auto", "sift"])
def test_by_id_excludes_the_image_itself(own, method):
    own.put("copy", png(wide(1)[80:, 80:]))
    result = own.search(id="1", method=method, k=99)
    assert "1" not in result.ids
    assert len(result.hits) == SEEDS
    first = result.hits[0]
    assert (first.id, first.relation) == ("copy", "contains")


@pytest.mark.parametrize("method", ["auto", "sift", "efficientnet-lite0"])
def test_a_mirrored_crop(collection, method):
    crop = wide(3)[:, 100:][:, ::-1]
    plain = collection.search(crop, method=method, mirror=False).hits[0]
    assert plain.evidence is None or plain.decision != "match"
    found = collection.search(crop, method=method).hits[0]
    assert (found.id, found.relation) == ("3", "part of")
    assert found.evidence.mirrored
    # The left edge of the query is the right edge of the image; its right edge lies at 100.
    (left, top), (right, _), _, _ = found.evidence.candidate_outline
    assert (left, top, right) == pytest.approx((319.5, -0.5, 99.5), abs=3)
    (near, _), (far, _), _, _ = found.evidence.query_outline
    assert (near, far) == pytest.approx((319.5, -0.5), abs=3)
    corner = np.array(found.evidence.transform) @ (0, 0, 1)
    assert corner[:2] / corner[2] == pytest.approx((319, 0), abs=3)


def test_a_box_is_located_in_the_whole_image(collection):
    page = np.concatenate([wide(1), wide(50)], axis=1)
    box = (20.0, 10.0, 250.0, 200.0)
    result = collection.search(page, boxes=[box])
    first = result.hits[0]
    assert (first.id, first.relation, result.boxes) == ("1", "part of", (box,))
    # The outline of the image in the whole page.
    assert np.allclose(first.evidence.query_outline[0], (-0.5, -0.5), atol=3)
    assert np.allclose(first.evidence.query_outline[2], (319.5, 239.5), atol=3)
    moved = np.array(first.evidence.transform) @ (100, 100, 1)
    assert np.allclose(moved[:2] / moved[2], (100, 100), atol=3)
    assert collection.search(page, boxes=[(340, 10, 250, 200)]).decision == "none"


def test_a_box_of_a_stored_image_needs_its_file(own, tmp_path):
    with pytest.raises(InputError, match="has changed"):
        own.search(id="1", boxes=[(0, 0, 100, 100)])
    (tmp_path / "pictures").mkdir()
    for name, image in (("whole", wide(40)), ("part", wide(40)[:150, :150]), ("other", wide(41))):
        (tmp_path / "pictures" / f"{name}.png").write_bytes(png(image))
    own.add(tmp_path / "pictures")
    result = own.search(id="whole.png", boxes=[(0, 0, 150, 150)], k=99)
    assert result.ids[0] == "part.png"
    assert "whole.png" not in result.ids


@pytest.mark.parametrize("mirrored", [False, True])
def test_explanation(collection, mirrored):
    crop = wide(2)[40:200, 60:300]
    crop = crop[:, ::-1] if mirrored else crop
    explanation = collection.explain(crop, "2")
    hit = collection.search(crop).hits[0]
    assert (explanation.evidence, explanation.evalue, explanation.decision, explanation.relation) == (
        hit.evidence,
        hit.evalue,
        hit.decision,
        hit.relation,
    )
    assert len(explanation.inliers) == explanation.evidence.inliers
    assert (
        explanation.matches == explanation.evidence.matches == len(explanation.inliers) + len(explanation.outliers)
    )
    assert (explanation.query_size, explanation.candidate_size) == ((240, 160), (320, 240))
    here, there = np.array(explanation.inliers).transpose(1, 0, 2)
    if mirrored:
        here[:, 0] = 239 - here[:, 0]
    assert np.allclose(there - here, (60, 40), atol=6)
    assert explanation.numbers["inliers"] == explanation.evidence.inliers
    assert explanation.numbers["images searched"] == SEEDS
    assert to_json(explanation)["inliers"][0] == [list(explanation.inliers[0][0]), list(explanation.inliers[0][1])]


def test_explanation_without_evidence(collection):
    other = collection.explain(wide(2)[40:200, 60:300], "1")
    assert (other.evidence, other.inliers, other.relation) == (None, (), "similar")
    assert len(other.outliers) == other.matches > 0
    assert to_json(other)["evidence"] is None


def test_explanation_of_a_part(collection):
    page = np.concatenate([wide(50), wide(1)], axis=1)
    explanation = collection.explain(page, "1", boxes=[(330, 10, 200, 200)])
    assert explanation.query_size == (640, 240)
    here, there = np.array(explanation.inliers).transpose(1, 0, 2)
    assert np.allclose(here - there, (320, 0), atol=6)
    assert collection.draw(explanation, page).startswith(b"\x89PNG")


def test_explanation_by_thumbnails(collection):
    blurred = np.asarray(Image.fromarray(wide(6)).filter(ImageFilter.GaussianBlur(3)))
    explanation = collection.explain(blurred, "6", method="efficientnet-lite0")
    assert explanation.evidence.found_by == "thumbnails"
    assert len(explanation.inliers) == explanation.evidence.inliers >= 5


def test_explanations_that_are_rejected(own):
    with pytest.raises(UnknownImageError):
        own.explain(wide(1), "no such id")
    without_keypoints(own, "1")
    with pytest.raises(InputError, match="imported"):
        own.explain(wide(1), "1", method="sift")


def test_a_drawing_needs_the_explained_query(collection):
    explanation = collection.explain(wide(1), "1")
    assert collection.draw(explanation, wide(1)).startswith(b"\x89PNG")
    with pytest.raises(InputError, match="size is different"):
        collection.draw(explanation, wide(1)[:100])


def test_images_without_keypoints_are_compared_by_thumbnails(own):
    for seed in range(SEEDS):
        without_keypoints(own, str(seed))
    result = own.search(wide(2), method="sift", k=99)
    assert len(result.hits) == SEEDS
    assert all(hit.evidence is None for hit in result.hits)  # imported images have no thumbnails either


def test_a_blank_query_and_an_empty_collection(own):
    result = own.search(np.zeros((50, 50, 3), np.uint8))
    assert all(hit.evidence is None for hit in result.hits)
    assert result.decision == "none"
    own.remove([str(seed) for seed in range(SEEDS)])
    nothing = own.search(wide(2))
    assert (nothing.hits, nothing.decision) == ((), "none")


def test_invalid_rankings(collection):
    with pytest.raises(InputError, match="unknown ranking"):
        collection.search(wide(2), method="sift", ranking="best")
    with pytest.raises(InputError, match="requires a method"):
        collection.search(wide(2), ranking="matches")


def test_the_first_hits_do_not_depend_on_k(collection):
    everything = collection.search(wide(2)[:150], k=99)
    for k in (1, 2, 5):
        assert collection.search(wide(2)[:150], k=k).hits == everything.hits[:k]


def test_an_image_removed_during_a_search_has_no_evidence(collection):
    gone = []

    class Vanishing(MemoryStore):
        def records(self, ids):
            gone.extend(image_id for image_id in ids if image_id == "2")
            return super().records([image_id for image_id in ids if image_id != "2"])

    collection.calibrate()
    store, settings = Vanishing(), Settings()
    method = load_method("sift", settings)
    store.register(method.extractor.fingerprint(), method.extractor.spec)
    for seed in range(SEEDS):
        record = collection.get(str(seed))
        store.put([Entry(record, {"sift": collection.store.features(str(seed), "sift")})])
    parts = runtime(settings)
    gallery = Gallery(store, null_model.read(collection.store, parts.calibrator))
    searcher = Searcher(parts, gallery, [method], lambda _: None)
    result = searcher.search(Query(b""), query_image(wide(2)), SearchOptions(k=99), Stopwatch()).result
    assert gone
    assert len(result.hits) == SEEDS
    assert next(hit for hit in result.hits if hit.id == "2").evidence is None


def test_a_fast_search_reads_its_candidates_once(own, monkeypatch):
    own.calibrate()
    own.rebuild_index()
    expected = own.search(wide(2)[:150], method="sift", mode="fast")
    monkeypatch.setattr(own.store, "features", lambda *_: pytest.fail("read again"))
    again = own.search(wide(2)[:150], method="sift", mode="fast")
    assert again.hits[0].evidence.inliers >= 10
    assert again.hits == expected.hits


def test_a_stored_query_uses_the_methods_it_has_features_of(own):
    store = own.store
    features = {"efficientnet-lite0": store.features("1", "efficientnet-lite0")}
    store.put([Entry(store.get("1"), features, store.thumbnail("1"))])
    result = own.search(id="1", k=99)
    assert set(result.fingerprints) == {"efficientnet-lite0"}
    # The other methods still find it by its features.
    assert own.search(wide(1)).hits[0].id == "1"
