import numpy as np
import pytest

from imagefinder.core.errors import CollectionCorruptError
from imagefinder.core.features import FeatureSpec
from imagefinder.core.method import Method
from imagefinder.core.records import ImageRecord
from imagefinder.matching.mutual_nn import MutualNNMatcher
from imagefinder.search import retrieval
from imagefinder.search.candidates import Candidates
from imagefinder.search.encoding import QueryImage
from imagefinder.search.retrieval import RERANK_DEPTH, RERANK_DEPTH_GLOBAL, Scores, candidates, restrict

NAMES = [f"{number:03}" for number in range(200)]


class Extractor:
    spec = FeatureSpec("local", 4, "uint8")


class Verifier:
    pass


def scores(values, near, *, verifier):
    method = Method("m", "", "matches", Extractor(), MutualNNMatcher(), verifier=verifier)
    return Scores(method, (), NAMES, values, np.zeros(len(NAMES), np.int64), values, near=near)


def query(name=""):
    return QueryImage(np.zeros((1, 1, 3), np.uint8), (1, 1), (1, 1), id=name)


def test_images_with_near_matches_become_candidates():
    values, near = np.arange(200, dtype=np.float64), np.zeros(200)
    near[[3, 5]] = 9, 4
    chosen = candidates([scores(values, near, verifier=Verifier())], query())
    assert chosen[:RERANK_DEPTH] == NAMES[: -RERANK_DEPTH - 1 : -1]
    # Images without near matches are not added.
    assert chosen[RERANK_DEPTH:] == ["003", "005"]


def test_large_collections_get_more_candidates_by_near_matches(monkeypatch):
    values, near = np.arange(200, dtype=np.float64), np.arange(200, 0, -1, dtype=np.float64)
    monkeypatch.setattr(retrieval, "NEAR_ONE_OF", 3)
    chosen = candidates([scores(values, near, verifier=Verifier())], query())
    assert len(chosen) == RERANK_DEPTH + 200 // 3
    assert chosen[RERANK_DEPTH:] == NAMES[: 200 // 3]


def test_without_near_matches_the_best_scores_become_candidates():
    values = np.arange(200, dtype=np.float64)
    assert len(candidates([scores(values, None, verifier=Verifier())], query("199"))) == RERANK_DEPTH - 1
    many = RERANK_DEPTH_GLOBAL
    assert candidates([scores(values, None, verifier=None)], query()) == NAMES[: -many - 1 : -1]


def test_the_rerank_depth_applies_to_every_method():
    values = np.arange(200, dtype=np.float64)
    for verifier in (Verifier(), None):
        assert candidates([scores(values, None, verifier=verifier)], query(), 3) == ["199", "198", "197"]


def test_near_matches_follow_their_images():
    values, near = np.zeros(200), np.arange(200, dtype=np.float64)
    some = restrict(scores(values, near, verifier=Verifier()), {"007", "120"})
    assert dict(zip(some.rows, some.near.tolist(), strict=True)) == {"007": 7.0, "120": 120.0}


class DamagedStore:
    """Has the images a and b; the thumbnail of b is damaged."""

    def records(self, ids):
        return {name: ImageRecord(name, "", "", 0, 4, 3, "PNG") for name in ids if name in "ab"}

    def thumbnails(self, ids):
        return {name: self.thumbnail(name) for name in ids}

    def thumbnail(self, name):
        if name == "b":
            raise CollectionCorruptError("the thumbnail of image 'b' is damaged")
        return b"jpeg"


def test_a_damaged_thumbnail_matters_only_if_it_is_compared():
    read = Candidates(DamagedStore())
    read.prefetch(["a", "b", "c"])
    assert read.get("a").thumbnail == b"jpeg"
    assert read.get("b").size == (4, 3)
    assert read.get("c") is None
    with pytest.raises(CollectionCorruptError, match="'b'"):
        _ = read.get("b").thumbnail
