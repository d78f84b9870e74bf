import io

import numpy as np
import pytest
from PIL import Image

import imagefinder
from imagefinder.collection import Collection
from imagefinder.core.errors import InputError, UnknownImageError
from imagefinder.core.features import FeatureSpec, LocalFeatures, concatenate
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.method import Method
from imagefinder.core.records import Entry
from imagefinder.core.settings import Settings
from imagefinder.extractors.network import token_keypoints
from imagefinder.matching.mutual_nn import MutualNNMatcher
from imagefinder.search import engine
from imagefinder.stores.memory import MemoryStore
from imagefinder.testing.extractors import textured_image
from imagefinder.verification.tokens import TokenVerifier
from imagefinder.wiring import load_method


def wide(seed):
    return textured_image(seed, 240, 320)


@pytest.fixture
def collection(tmp_path):
    with imagefinder.open(tmp_path / "c", settings=Settings(store="memory")) as collection:
        for seed in range(4):
            buffer = io.BytesIO()
            Image.fromarray(wide(seed)).save(buffer, "PNG")
            collection.put(f"{seed}", buffer.getvalue())
        yield collection


def without_keypoints(collection, image_id):
    """As an import does it: descriptors, but no places."""
    store = collection.store
    features = store.features(image_id, "sift")
    places = np.zeros_like(features.keypoints)
    places[:, 3] = -1
    stripped = type(features)(features.descriptors, places, features.offsets)
    store.put([Entry(store.get(image_id), {"sift": stripped})])


def test_evidence_says_where_the_query_lies(collection):
    crop = wide(2)[40:200, 60:300]
    result = collection.search(crop, ranking="evidence")
    assert (result.ranking, result.verified) == ("evidence", 4)
    assert set(result.timings) == {"decode", "extract", "match", "verify", "total"}
    first = result.hits[0]
    assert first.id == "2"
    assert np.allclose(first.evidence.candidate_outline[0], (59.5, 39.5), atol=3)
    assert first.evidence.query_overlap == pytest.approx(1, abs=0.02)
    assert first.evidence.candidate_overlap == pytest.approx(160 * 240 / (240 * 320), abs=0.03)
    assert result.to_dict()["hits"][0]["evidence"]["inliers"] == first.evidence.inliers


def test_the_plain_ranking_has_no_evidence(collection):
    result = collection.search(wide(2))
    assert (result.ranking, result.verified) == ("matches", 0)
    assert "verify" not in result.timings
    assert all(hit.evidence is None and "evidence" not in hit.to_dict() for hit in result.hits)


def test_by_id_leaves_the_image_itself_out(collection):
    result = collection.search(id="1", ranking="evidence", mirror=True, k=9)
    assert "1" not in result.ids
    assert result.verified == 3


def test_a_mirrored_crop(collection):
    crop = wide(3)[:, 100:][:, ::-1]
    assert collection.search(crop, ranking="evidence").hits[0].evidence is None
    found = collection.search(crop, ranking="evidence", mirror=True).hits[0]
    assert found.id == "3"
    assert found.evidence.mirrored
    # The left edge of the query is the right edge of the picture; its right edge lies at 100.
    (left, top), (right, _), _, _ = found.evidence.candidate_outline
    assert (left, top, right) == pytest.approx((319.5, -0.5, 99.5), abs=3)
    (near, _), (far, _), _, _ = found.evidence.query_outline
    assert (near, far) == pytest.approx((319.5, -0.5), abs=3)
    corner = np.array(found.evidence.transform) @ (0, 0, 1)
    assert corner[:2] / corner[2] == pytest.approx((319, 0), abs=3)


def test_explanation(collection):
    crop = wide(2)[40:200, 60:300]
    told = collection.explain(crop, "2")
    assert told.evidence == collection.search(crop, ranking="evidence").hits[0].evidence
    assert len(told.inliers) == told.evidence.inliers
    assert told.matches == told.score == told.evidence.matches
    assert (told.query_size, told.candidate_size) == ((240, 160), (320, 240))
    here, there = np.array(told.inliers).transpose(1, 0, 2)
    assert np.allclose(there - here, (60, 40), atol=6)
    assert told.to_dict()["inliers"][0] == [list(told.inliers[0][0]), list(told.inliers[0][1])]
    assert len(told.inliers) + len(told.outliers) == told.matches
    assert told.query_cell == told.candidate_cell == (0, 0)
    other = collection.explain(crop, "1")
    assert (other.evidence, other.inliers) == (None, ())
    assert len(other.outliers) == other.matches
    assert other.to_dict()["evidence"] is None


def test_explanation_of_a_mirrored_crop(collection):
    told = collection.explain(wide(3)[:, 100:][:, ::-1], "3", mirror=True)
    here, there = np.array(told.inliers).transpose(1, 0, 2)
    assert np.allclose(there[:, 0], 319 - here[:, 0], atol=6)


def test_what_cannot_be_explained(collection):
    with pytest.raises(UnknownImageError):
        collection.explain(wide(1), "no such id")
    without_keypoints(collection, "1")
    with pytest.raises(InputError, match="imported"):
        collection.explain(wide(1), "1")


def test_a_drawing_needs_the_picture_that_was_explained(collection):
    told = collection.explain(wide(1), "1")
    assert collection.draw(told, wide(1)).startswith(b"\x89PNG")
    with pytest.raises(InputError, match="another size"):
        collection.draw(told, wide(1)[:100])


def test_images_without_keypoints_are_not_verified_and_not_counted(collection):
    without_keypoints(collection, "1")
    result = collection.search(wide(2), ranking="evidence", k=9)
    assert (result.verified, len(result.hits)) == (3, 4)
    with pytest.raises(InputError, match="no keypoints"):
        collection.search(id="1", ranking="evidence")
    for image_id in "023":
        without_keypoints(collection, image_id)
    with pytest.raises(InputError, match="no keypoints"):
        collection.search(wide(2), ranking="evidence")


def test_a_blank_query_and_an_empty_collection(collection):
    result = collection.search(np.zeros((50, 50, 3), np.uint8), ranking="evidence", mirror=True)
    assert result.verified == 4
    assert all(hit.evidence is None for hit in result.hits)
    collection.remove([str(seed) for seed in range(4)])
    assert collection.search(wide(2), ranking="evidence").hits == ()


def test_what_cannot_be_ranked(collection):
    for changes in ({"ranking": "best"}, {"mirror": True}):
        with pytest.raises(InputError):
            collection.search(wide(2), **changes)
    for method in ("efficientnet-lite0", "resnet50"):
        with pytest.raises(InputError, match="no keypoints"):
            collection.search(wide(2), method=method, ranking="evidence")


def test_an_image_that_is_removed_meanwhile_keeps_its_place_without_evidence(collection, monkeypatch):
    gone = []

    class Vanishing(MemoryStore):
        def get(self, image_id):
            if image_id == "2":
                gone.append(image_id)
                raise UnknownImageError(image_id)
            return super().get(image_id)

    store = Vanishing()
    method = load_method("sift", Settings())
    store.register(method.extractor.fingerprint(), method.extractor.spec)
    for seed in range(4):
        record = collection.get(str(seed))
        store.put([Entry(record, {"sift": collection.store.features(str(seed), "sift")})])
    result = engine.search(store, method, wide(2), k=1, watch=engine.Stopwatch(), order="evidence")
    assert gone
    assert (result.ids, result.verified, result.hits[0].evidence) == (["2"], 3, None)


class Squares:
    """Tokens that are the mean colours of the cells of a grid."""

    spec = FeatureSpec("local", 3, "float32")

    def fingerprint(self):
        return Fingerprint("squares", 1, {})

    def extract(self, images):
        return concatenate(self.spec, [self.one(image) for image in images])

    @staticmethod
    def one(image):
        height, width = image.shape[:2]
        cells = np.asarray(Image.fromarray(image).resize((8, 8), Image.Resampling.BOX), dtype=np.float32) - 128
        descriptors = np.concatenate([np.full((1, 3), 1, np.float32), cells.reshape(-1, 3)])
        return LocalFeatures(descriptors, token_keypoints(height, width, 65), np.array([0, 65]))


def test_tokens_are_explained_with_their_cells():
    tokens = Method("squares", "", "matches", Squares(), MutualNNMatcher(), TokenVerifier())
    collection = Collection(MemoryStore(), lambda name: tokens, ["squares"], Settings(store="memory"))
    buffer = io.BytesIO()
    Image.fromarray(wide(1)).save(buffer, "PNG")
    collection.put("1", buffer.getvalue())
    told = collection.explain(wide(1), "1", method="squares")
    assert told.evidence.found_by == "tokens"
    assert len(told.inliers) == told.evidence.inliers > 10
    assert told.query_cell == told.candidate_cell == (40, 30)
    assert told.to_dict()["query_cell"] == [40, 30]
    assert collection.draw(told, wide(1)).startswith(b"\x89PNG")
