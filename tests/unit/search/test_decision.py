import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.calibration.evalue import TailCalibrator
from imagefinder.core.contracts import Verification
from imagefinder.core.method import Method
from imagefinder.core.results import Evidence
from imagefinder.search import decision, ranking
from imagefinder.search.calibration import Calibration, calibrate
from imagefinder.search.candidates import Candidate
from imagefinder.search.decision import CHECKED, NOT_CHECKED, decide, hits_by_evidence, hits_by_score
from imagefinder.search.encoding import NO_PIXELS, QueryImage
from imagefinder.search.geometry import Finding
from imagefinder.search.null_model import MethodNullModel, NullModel, Seed
from imagefinder.search.retrieval import Scores, searched
from imagefinder.search.verification import Verified

FRAME = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
MATRIX = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
EVIDENCE = Evidence(
    40, 90, "similarity", MATRIX, False, FRAME, FRAME, 1.0, 1.0, log10_chance=-60.0, agreement=0.95
)
QUERY = QueryImage(NO_PIXELS, (1, 1), (1, 1))

fit = TailCalibrator().fit
normal = np.random.default_rng(0).normal(size=20_000)


def known():
    return MethodNullModel("f", 0.0, 1.0, None, fit(normal, total=len(normal), floor=0, scale=0.6))


DECOYS = np.random.default_rng(1).normal(-2, 0.5, 48)
NULL_MODEL = NullModel(
    images=500,
    methods={"net": known(), "sift": known()},
    agreement=fit(DECOYS, total=48, floor=0, scale=0.3),
    seeds={str(number): Seed(500, linked=2, apart=0) for number in range(16)},
)


def scores(name, standard, verifier=None):
    method = Method(name, "", "cosine", None, None, verifier)
    values = np.array(list(standard.values()), dtype=np.float64)
    return Scores(method, (), list(standard), values * 10, np.zeros(len(values), np.int64), values)


def calibration(searched=500, tests=2):
    return Calibration(NULL_MODEL, searched, tests)


def finding(evidence, name="sift"):
    method = Method(name, "", "matches", None, None)
    return Finding(method, None, None, np.empty((0, 2)), Verification(evidence, np.empty((0, 2))))


def verified(evidence=None, thumbnails=None, is_same=False):
    keypoints = {"sift": finding(evidence)} if evidence else {}
    return Verified(None, keypoints, finding(thumbnails, "thumbnails") if thumbnails else None, is_same)


def test_the_evalue_grows_with_the_collection():
    value = np.array([3.0])
    small, large = (calibration(searched=n).of_scores("net", value)[0] for n in (100, 10_000))
    assert large - small == pytest.approx(2)


def test_chance_needs_an_agreement_above_one_half():
    for agreement in (None, 0.0, 0.3, 0.5):
        assert calibration().of_agreement(agreement) == 0
    assert 0 > calibration().of_agreement(0.6) > calibration().of_agreement(0.9)


def of(evidence, model=NULL_MODEL):
    return Calibration(model, 500, 2).of_evidence(evidence)


@given(st.floats(-900, -3), st.floats(0, 1))
def test_the_evalue_of_a_geometry_is_the_sum_of_two_causes(log10_chance, agreement):
    evidence = replace(EVIDENCE, log10_chance=log10_chance, agreement=agreement)
    both = calibration().parts(evidence)
    assert 10 ** of(evidence) == pytest.approx(sum(10.0**part for part in both), rel=1e-6, abs=1e-300)


def test_a_geometry_is_stronger_evidence_the_stronger_it_is_and_the_more_it_agrees():
    agreements = [of(replace(EVIDENCE, agreement=value)) for value in (None, 0.1, 0.2, 0.4, 0.6, 0.9)]
    strengths = [of(replace(EVIDENCE, log10_chance=value, agreement=0.3)) for value in (-5, -20, -100, -900)]
    assert agreements == sorted(agreements, reverse=True)
    assert strengths == sorted(strengths, reverse=True)


def test_six_inliers_that_do_not_agree_are_not_a_match():
    absurd = replace(EVIDENCE, inliers=6, log10_chance=-6.2, agreement=0.0)
    quiet = replace(NULL_MODEL, seeds={str(number): Seed(500, 9, 0) for number in range(16)})
    for model in (NULL_MODEL, quiet, replace(NULL_MODEL, seeds={})):
        assert 2 * 10 ** of(absurd, model) > 0.1


def test_a_weak_geometry_of_thumbnails_does_not_rank_above_a_strong_one():
    weak = replace(EVIDENCE, inliers=5, log10_chance=-5.0, agreement=0.2, found_by="thumbnails")
    strong = replace(EVIDENCE, inliers=32, log10_chance=-64.0, agreement=0.27)
    assert of(strong) < of(weak)


def test_common_parts_make_geometries_weaker_evidence():
    shelf = replace(NULL_MODEL, seeds={str(number): Seed(500, 2, 4) for number in range(16)})
    evidence = replace(EVIDENCE, agreement=0.35)
    assert of(evidence, shelf) > of(evidence) + 1
    assert shelf.common_parts(500) == pytest.approx((8 * (64 - 0.05 * 32) + 1.5) / 17.5)
    assert shelf.common_parts(1000) == pytest.approx(2 * shelf.common_parts(500))
    assert shelf.common_parts(5) == shelf.common_parts(500)


def test_where_decoys_look_alike_agreement_is_no_evidence_against_a_common_part():
    white = replace(NULL_MODEL, seeds={str(n): Seed(500, 2, 0, decoys=(0.6, 0.7)) for n in range(16)})
    assert NULL_MODEL.agreement_counts
    assert not white.agreement_counts
    fruit = replace(EVIDENCE, log10_chance=-9.0, agreement=0.85)
    assert of(fruit) < -3 < of(fruit, white)


def test_a_geometry_is_stronger_evidence_if_the_cosine_is_rare():
    scored = [scores("net", {"a": 5.0, "b": 1.0}), scores("sift", {"a": 0.0, "b": 0.0}, verifier="v")]
    shelf = replace(EVIDENCE, agreement=0.25)
    both = calibrate(calibration(), scored, {"a": verified(shelf), "b": verified(shelf)}, "")
    assert both.similar["a"] > 0 == both.similar["b"]
    assert both.log10_evalue("a") < both.log10_evalue("b") - 0.5


def test_of_several_cosines_the_rarest_counts_times_their_number():
    alone = calibrate(calibration(), [scores("net", {"a": 3.0})], {"a": verified(EVIDENCE)}, "")
    model = replace(NULL_MODEL, methods={**NULL_MODEL.methods, "other": known()})
    scored = [scores("net", {"a": 3.0}), scores("other", {"a": 0.0})]
    two = calibrate(Calibration(model, 500, 3), scored, {"a": verified(EVIDENCE)}, "")
    assert two.similar["a"] == pytest.approx(alone.similar["a"] - math.log10(2))


@given(st.floats(-400, 10))
def test_evalues_are_finite_and_bounded_by_the_collection(best):
    together = calibration().combine(np.array([best]))[0]
    assert 0 < 10.0**together <= 500 * (1 + 1e-9)


def test_decisions():
    assert decide(calibration(), -2.0, None) == "match"
    assert decide(calibration(), -1.9, None) == "possible"
    assert decide(calibration(), 0.0, None) == "possible"
    assert decide(calibration(), 0.1, None) == "none"
    # A geometry that rules out chance is at least a possible match, even if it is common.
    assert decide(calibration(), 1.0, EVIDENCE) == "possible"
    assert decide(calibration(), 1.0, replace(EVIDENCE, log10_chance=-3.0)) == "none"


def hits(scored, found=None, query=QUERY, k=None, threads=1):
    calibrated = calibrate(
        Calibration.of_search(NULL_MODEL, scored, searched(scored)), scored, found or {}, query.id
    )
    ranked = ranking.by_evalue(calibrated.ids, calibrated.log10_evalues, calibrated.strength, k)
    return hits_by_evidence(ranked, calibrated, query, lambda _: None, threads=threads)


def plain(scores, model, k=5):
    tests = Calibration(model, searched([scores]), tests=1) if model else None
    return hits_by_score(ranking.best(scores.ids, scores.values, k), scores, tests)


def test_without_evidence_scores_rank_and_nothing_matches():
    answer = hits([scores("net", {"a": 0.1, "b": 0.5, "c": 0.3})])
    assert [hit.id for hit in answer] == ["b", "c", "a"]
    assert {hit.decision for hit in answer} == {"none"}
    assert [hit.rank for hit in answer] == [1, 2, 3]
    assert {hit.relation for hit in answer} == {"similar"}


def test_evidence_ranks_an_image_first_with_its_relation():
    standard = {"a": 2.0, "b": 1.0, "c": 0.3}
    answer = hits(
        [scores("net", standard), scores("sift", standard, verifier=object())], {"c": verified(EVIDENCE)}
    )
    first = answer[0]
    assert (first.id, first.decision, first.relation, first.evidence) == ("c", "match", "edited copy", EVIDENCE)
    assert first.score == pytest.approx(-math.log10(first.evalue))
    assert set(first.methods) == {"net", "sift"}
    assert first.methods["net"].score == 3.0


def test_only_the_first_hits_are_checked_and_called_copies():
    candidate = Candidate("", (100, 100), "", lambda: b"")
    one = Verified(candidate, {"sift": finding(EVIDENCE)})
    ids = [f"{number:02}" for number in range(CHECKED + 1)]
    answer = hits([scores("sift", dict.fromkeys(ids, 1.0), verifier=object())], dict.fromkeys(ids, one))
    assert {hit.relation for hit in answer} == {"same scene"}
    assert [hit.note for hit in answer] == [""] * CHECKED + [NOT_CHECKED]


def test_several_hits_are_checked_in_threads_and_a_single_one_without(monkeypatch):
    pools = []

    class Pool(decision.ThreadPoolExecutor):
        def __init__(self, threads):
            pools.append(threads)
            super().__init__(threads)

    monkeypatch.setattr(decision, "ThreadPoolExecutor", Pool)
    candidate = Candidate("", (100, 100), "", lambda: b"")
    one = Verified(candidate, {"sift": finding(EVIDENCE)})
    scored = [scores("sift", {"a": 3.0, "b": 2.0, "c": 1.0}, verifier=object())]
    found = {"a": one, "b": one}
    serial = hits(scored, found)
    assert [hit.relation for hit in serial] == ["same scene", "same scene", "similar"]
    assert pools == []
    assert hits(scored, {"a": one}, threads=2)[0] == serial[0]
    assert pools == []
    assert hits(scored, found, threads=2) == serial
    assert pools == [2]


def test_with_one_method_the_score_is_that_of_the_matcher():
    assert hits([scores("net", {"a": 0.5})])[0].score == 5.0


def test_matches_without_geometry_are_not_a_match():
    answer = hits([scores("sift", {"a": 9.0, "b": 1.0}, verifier=object())])
    assert answer[0].id == "a"
    assert answer[0].evalue >= 1
    assert answer[0].methods["sift"].evalue < 0.01


def test_keypoint_matches_are_not_a_test_next_to_a_network():
    network, local = {"a": 0.0, "b": 0.5}, {"a": 9.0, "b": 0.0}
    assert hits([scores("net", network), scores("sift", local, verifier=object())])[0].id == "b"


def test_identical_images_need_no_score():
    answer = hits([scores("net", {"a": 3.0, "b": -3.0})], {"b": verified(is_same=True)})
    assert (answer[0].id, answer[0].relation, answer[0].decision) == ("b", "identical", "match")
    assert 0 < answer[0].evalue < 1e-200


def test_thumbnails_are_a_test():
    found = {"b": verified(thumbnails=replace(EVIDENCE, found_by="thumbnails"))}
    first = hits([scores("net", {"a": 2.0, "b": 1.0})], found)[0]
    assert (first.id, first.decision, first.evidence.found_by) == ("b", "match", "thumbnails")


def test_the_query_image_is_excluded():
    query = QueryImage(NO_PIXELS, (1, 1), (1, 1), id="a")
    assert [hit.id for hit in hits([scores("net", {"a": 9.0, "b": 0.0})], query=query)] == ["b"]


def test_ranking_by_matches_has_evalues_with_a_null_model():
    answer = plain(scores("net", {"a": -3.0, "b": 9.0}), NULL_MODEL)
    assert [(hit.id, hit.decision) for hit in answer] == [("b", "match"), ("a", "none")]
    assert [hit.relation for hit in answer] == [None, None]
    assert plain(scores("net", {"a": 0.0}), None)[0].evalue is None


standards = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(-5, 5), min_size=1)


@given(standards, standards, st.sets(st.sampled_from("abcdefgh")), st.floats(-80, -2), st.floats(0, 1))
def test_every_image_once_by_rising_evalue(net, local, seen, chance, agreement):
    evidence = replace(EVIDENCE, log10_chance=chance, agreement=agreement)
    found = {image_id: verified(evidence) for image_id in seen & local.keys()}
    answer = hits([scores("net", net), scores("sift", local, verifier=object())], found)
    # An image scored only by a method with keypoints, without a geometry, has no evidence.
    assert {hit.id for hit in answer} >= net.keys() | found.keys()
    assert len({hit.id for hit in answer}) == len(answer)
    expected = [hit.evalue for hit in answer]
    assert expected == sorted(expected)


def test_the_limits_match_the_documentation():
    assert (decision.MATCH, decision.POSSIBLE) == (0.01, 1.0)


def test_the_best_few_are_the_first_of_the_full_ranking():
    scored = [scores("net", {name: (ord(name) % 5) / 10 for name in "abcdefghijkl"})]
    everything = hits(scored, {"c": verified(EVIDENCE)})
    for k in (1, 3, 12, 99):
        assert hits(scored, {"c": verified(EVIDENCE)}, k=k) == everything[:k]
