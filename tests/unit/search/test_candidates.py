import numpy as np

from imagefinder.core.features import FeatureSpec
from imagefinder.core.method import Method
from imagefinder.matching.mutual_nn import MutualNNMatcher
from imagefinder.search import retrieval
from imagefinder.search.encoding import QueryImage
from imagefinder.search.retrieval import RERANK_DEPTH, RERANK_DEPTH_GLOBAL, Scores, candidates, restrict

NAMES = [f"{number:03}" for number in range(200)]


class Extractor:
    spec = FeatureSpec("local", 4, "uint8")


class Verifier:
    pass


def scores(values, near, *, verifier):
    method = Method("m", "", "matches", Extractor(), MutualNNMatcher(), verifier=verifier)
    rows = dict(zip(NAMES, range(len(NAMES)), strict=True))
    return Scores(method, (), rows, values, np.zeros(len(NAMES), np.int64), values, near=near)


def query(name=""):
    return QueryImage(np.zeros((1, 1, 3), np.uint8), (1, 1), (1, 1), id=name)


def test_those_with_near_matches_are_looked_at_whatever_chance_gives_others():
    values, near = np.arange(200, dtype=np.float64), np.zeros(200)
    near[[3, 5]] = 9, 4
    chosen = candidates([scores(values, near, verifier=Verifier())], query())
    assert chosen[:RERANK_DEPTH] == NAMES[: -RERANK_DEPTH - 1 : -1]
    # Nothing near promises nothing.
    assert chosen[RERANK_DEPTH:] == ["003", "005"]


def test_of_a_large_collection_more_are_looked_at_for_what_is_near(monkeypatch):
    values, near = np.arange(200, dtype=np.float64), np.arange(200, 0, -1, dtype=np.float64)
    monkeypatch.setattr(retrieval, "NEAR_ONE_OF", 3)
    chosen = candidates([scores(values, near, verifier=Verifier())], query())
    assert len(chosen) == RERANK_DEPTH + 200 // 3
    assert chosen[RERANK_DEPTH:] == NAMES[: 200 // 3]


def test_without_being_told_what_is_near_the_best_are_looked_at():
    values = np.arange(200, dtype=np.float64)
    assert len(candidates([scores(values, None, verifier=Verifier())], query("199"))) == RERANK_DEPTH - 1
    many = RERANK_DEPTH_GLOBAL
    assert candidates([scores(values, None, verifier=None)], query()) == NAMES[: -many - 1 : -1]


def test_the_rerank_depth_can_be_chosen_for_every_method():
    values = np.arange(200, dtype=np.float64)
    for verifier in (Verifier(), None):
        assert candidates([scores(values, None, verifier=verifier)], query(), 3) == ["199", "198", "197"]


def test_what_is_near_follows_its_images():
    values, near = np.zeros(200), np.arange(200, dtype=np.float64)
    some = restrict(scores(values, near, verifier=Verifier()), {"007", "120"})
    assert dict(zip(some.rows, some.near.tolist(), strict=True)) == {"007": 7.0, "120": 120.0}
