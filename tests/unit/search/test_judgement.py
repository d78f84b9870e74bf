import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.calibration.evalue import TailCalibrator
from imagefinder.core.method import Method
from imagefinder.core.results import Evidence
from imagefinder.search import judgement
from imagefinder.search.background import Background, MethodBackground
from imagefinder.search.examination import Found
from imagefinder.search.judgement import Judge, by_evidence, by_score, judge_of
from imagefinder.search.question import Asked
from imagefinder.search.scoring import Scores
from imagefinder.verification.relation import relation

FRAME = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
MATRIX = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
EVIDENCE = Evidence(40, 90, "similarity", MATRIX, False, FRAME, FRAME, 1.0, 1.0, "keypoints", -60.0, 0.95)
NOTHING = np.zeros((1, 1, 3), np.uint8)
ASKED = Asked(NOTHING, (1, 1), (1, 1))

fit = TailCalibrator().fit
normal = np.random.default_rng(0).normal(size=20_000)


def known(geometry=None):
    return MethodBackground("f", 0.0, 1.0, None, fit(normal, total=len(normal), floor=0, scale=0.6), geometry)


BACKGROUND = Background(
    images=500,
    cohort=128,
    methods={
        "net": known(),
        "sift": known(fit(np.array([2.5, 3.0, 4.0]), total=60_000, floor=2.0, scale=3.0)),
    },
    closer=fit(np.array([2.5]), total=700, floor=2.0, scale=3.0),
    agreement=fit(np.random.default_rng(1).normal(-2, 0.5, 64), total=64, floor=0, scale=0.3),
)


def scores(name, standard, verifier=None):
    method = Method(name, "", "cosine", None, None, verifier)
    values = np.array(list(standard.values()), dtype=np.float64)
    rows = dict(zip(standard, range(len(standard)), strict=True))
    return Scores(method, (), rows, values * 10, np.zeros(len(values), np.int64), values)


def judge(searched=500, tests=2):
    return Judge(BACKGROUND, searched, tests)


def test_the_evalue_grows_with_the_collection():
    value = np.array([3.0])
    small, large = (judge(searched=n).of_scores("net", value)[0] for n in (100, 10_000))
    assert large - small == pytest.approx(2)


def test_an_agreement_counts_beyond_one_half_only():
    for agreement in (None, 0.0, 0.3, 0.5):
        assert judge().of_agreement(agreement) == 0
    assert 0 > judge().of_agreement(0.6) > judge().of_agreement(0.9)
    alike, unlike = replace(EVIDENCE, agreement=0.95), replace(EVIDENCE, agreement=0.2)
    assert judge().of_geometry("sift", alike) < judge().of_geometry("sift", unlike)


@given(st.floats(-400, 10))
def test_evalues_stay_numbers_and_never_exceed_the_collection(best):
    together = judge().together(best)
    assert 0 < 10.0**together <= 500 * (1 + 1e-9)


def test_decisions():
    assert judge().decide(-2.0, None) == "match"
    assert judge().decide(-1.9, None) == "possible"
    assert judge().decide(0.0, None) == "possible"
    assert judge().decide(0.1, None) == "none"
    # A geometry that is no chance is never nothing, even where it is common.
    assert judge().decide(1.0, EVIDENCE) == "possible"
    assert judge().decide(1.0, replace(EVIDENCE, log10_chance=-3.0)) == "none"


def hits(scored, found=None, background=BACKGROUND, asked=ASKED):
    return by_evidence(scored, asked, found or {}, judge_of(background, scored), relation)


def test_without_evidence_the_scores_order_and_nothing_is_found():
    answer = hits([scores("net", {"a": 0.1, "b": 0.5, "c": 0.3})])
    assert [hit.id for hit in answer] == ["b", "c", "a"]
    assert {hit.decision for hit in answer} == {"none"}
    assert [hit.rank for hit in answer] == [1, 2, 3]
    assert {hit.relation for hit in answer} == {"similar"}


def test_evidence_brings_an_image_to_the_top_and_says_what_it_is():
    standard = {"a": 2.0, "b": 1.0, "c": 0.3}
    answer = hits(
        [scores("net", standard), scores("sift", standard, verifier=object())], {"c": Found({"sift": EVIDENCE})}
    )
    first = answer[0]
    assert (first.id, first.decision, first.relation, first.evidence) == ("c", "match", "edited copy", EVIDENCE)
    assert first.score == pytest.approx(-math.log10(first.evalue))
    assert set(first.methods) == {"net", "sift"}
    assert first.methods["net"].score == 3.0


def test_of_one_method_the_score_is_the_matchers():
    assert hits([scores("net", {"a": 0.5})])[0].score == 5.0


def test_matches_without_geometry_are_no_match_however_many():
    answer = hits([scores("sift", {"a": 9.0, "b": 1.0}, verifier=object())])
    assert answer[0].id == "a"
    assert answer[0].evalue >= 1
    assert answer[0].methods["sift"].evalue < 0.01


def test_the_count_of_keypoints_is_no_test_beside_a_network():
    network, local = {"a": 0.0, "b": 0.5}, {"a": 9.0, "b": 0.0}
    assert hits([scores("net", network), scores("sift", local, verifier=object())])[0].id == "b"


def test_the_same_picture_is_identical_without_any_score():
    answer = hits([scores("net", {"a": 3.0, "b": -3.0})], {"b": Found({}, same=True)})
    assert (answer[0].id, answer[0].relation, answer[0].decision) == ("b", "identical", "match")
    assert 0 < answer[0].evalue < 1e-200


def test_a_closer_look_counts_too():
    found = {"b": Found({}, replace(EVIDENCE, found_by="closer look"))}
    first = hits([scores("net", {"a": 2.0, "b": 1.0})], found)[0]
    assert (first.id, first.decision, first.evidence.found_by) == ("b", "match", "closer look")


def test_the_query_itself_is_left_out():
    asked = Asked(NOTHING, (1, 1), (1, 1), id="a")
    assert [hit.id for hit in hits([scores("net", {"a": 9.0, "b": 0.0})], asked=asked)] == ["b"]
    assert [hit.id for hit in by_score(scores("net", {"a": 9.0, "b": 0.0}), asked, BACKGROUND, 5)] == ["b"]


def test_the_plain_order_has_evalues_where_the_background_is_known():
    answer = by_score(scores("net", {"a": -3.0, "b": 9.0}), ASKED, BACKGROUND, 2)
    assert [(hit.id, hit.decision) for hit in answer] == [("b", "match"), ("a", "none")]
    assert [hit.relation for hit in answer] == [None, None]
    assert by_score(scores("net", {"a": 0.0}), ASKED, None, 2)[0].evalue is None


standards = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(-5, 5), min_size=1)


@given(standards, standards, st.sets(st.sampled_from("abcdefgh")), st.floats(-80, -2), st.floats(0, 1))
def test_every_image_once_by_rising_evalue(net, local, seen, chance, agreement):
    evidence = replace(EVIDENCE, log10_chance=chance, agreement=agreement)
    found = {image_id: Found({"sift": evidence}) for image_id in seen & local.keys()}
    answer = hits([scores("net", net), scores("sift", local, verifier=object())], found)
    # What only a method with keypoints knows, and has no geometry, nothing speaks for or against.
    assert {hit.id for hit in answer} >= net.keys() | found.keys()
    assert len({hit.id for hit in answer}) == len(answer)
    expected = [hit.evalue for hit in answer]
    assert expected == sorted(expected)


def test_the_limits_are_those_of_the_documentation():
    assert (judgement.MATCH, judgement.POSSIBLE) == (0.01, 1.0)


def test_the_best_few_are_the_first_of_all():
    scored = [scores("net", {name: (ord(name) % 5) / 10 for name in "abcdefghijkl"})]
    everything = hits(scored, {"c": Found({"sift": EVIDENCE})})
    for k in (1, 3, 12, 99):
        few = by_evidence(
            scored, ASKED, {"c": Found({"sift": EVIDENCE})}, judge_of(BACKGROUND, scored), relation, k=k
        )
        assert few == everything[:k]
