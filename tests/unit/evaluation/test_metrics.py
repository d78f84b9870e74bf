import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.evaluation.metrics import (
    at_threshold,
    average_precision,
    micro_average_precision,
    operating_point,
    precision_recall_curve,
    recall_at,
    revisited_oxford_average_precision,
)

# average_precision_score and precision_recall_curve of scikit-learn 1.9.1.
SCORES = [9, 8, 8, 7, 7, 7, 5, 4, 4, 3, 2, 2, 1, 0, 0, -1.5]
CORRECT = [1, 1, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 1]
MICRO = 0.5989556078841793
PRECISION = [1, 2 / 3, 0.5, 4 / 7, 5 / 9, 0.5, 5 / 12, 6 / 13, 0.4, 0.4375]
RECALL = [1 / 7, 2 / 7, 3 / 7, 4 / 7, 5 / 7, 5 / 7, 5 / 7, 6 / 7, 6 / 7, 1]
# fmt: off
DISTINCT = [
    0.653, -0.024, 0.668, -0.34, 1.052, -0.005, 0.583, -1.291, 0.347, -1.688, -2.035, -0.304, -0.9, 0.164, 2.245,
    -0.832, -0.624, 0.205, 0.493, -0.176, -0.206, 0.702, 0.52, -1.034, -0.079,
]
DISTINCT_CORRECT = [0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0]
# fmt: on
DISTINCT_AVERAGE = 0.48691806015335426

hits = st.lists(st.tuples(st.integers(-3, 4).map(float) | st.just(-math.inf), st.booleans()), max_size=30)


@pytest.mark.parametrize(
    ("ranked", "positives", "ignore", "expected"),
    [
        # By hand: precision at each correct answer; answers not found count 0.
        ("abcd", "a", "", 1.0),
        ("abcd", "b", "", 1 / 2),
        ("abcd", "ac", "", (1 / 1 + 2 / 3) / 2),
        ("abcd", "dz", "", (1 / 4 + 0) / 2),
        ("abcd", "d", "ab", 1 / 2),
        ("", "a", "", 0.0),
    ],
)
def test_average_precision(ranked, positives, ignore, expected):
    assert average_precision(list(ranked), set(positives), set(ignore)) == pytest.approx(expected)


def test_average_precision_equals_scikit_learn():
    ranked = [str(i) for i in np.argsort(np.negative(DISTINCT))]
    positives = {str(i) for i, correct in enumerate(DISTINCT_CORRECT) if correct}
    assert average_precision(ranked, positives) == pytest.approx(DISTINCT_AVERAGE, abs=1e-12)


@given(st.permutations("abcdef"), st.sets(st.sampled_from("abcdef"), min_size=1))
def test_average_precision_is_one_only_if_the_correct_answers_come_first(ranked, positives):
    value = average_precision(ranked, positives)
    assert 0 < value <= 1
    assert (value == 1) == (set(ranked[: len(positives)]) == positives)


@pytest.mark.parametrize(
    ("ranked", "positives", "ignore", "expected"),
    [
        # By hand: trapezoids between the precision before and at each correct answer.
        ("abcd", "a", "", 1.0),
        ("abcd", "b", "", (0 / 1 + 1 / 2) / 2),
        ("abcd", "ac", "", ((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2) / 2),
        ("abcd", "bd", "", ((0 + 1 / 2) / 2 + (1 / 3 + 2 / 4) / 2) / 2),
        ("abcd", "az", "", (1 + 0) / 2),
        ("xaybz", "ab", "xyz", 1.0),  # junk before and between correct answers has no effect
        ("xyab", "b", "x", (0 / 2 + 1 / 3) / 2),
        ("", "a", "", 0.0),
    ],
)
def test_average_precision_of_revisited_oxford(ranked, positives, ignore, expected):
    found = revisited_oxford_average_precision(list(ranked), set(positives), set(ignore))
    assert found == pytest.approx(expected)


@given(
    st.permutations("abcdefgh"),
    st.sets(st.sampled_from("abcdefgh"), min_size=1),
    st.sets(st.sampled_from("abcdefgh")),
)
def test_revisited_oxford_by_the_steps_of_the_reference(ranked, positives, ignore):
    positives = positives - ignore or {"z"}
    # The reference takes the ranks of correct answers and of junk, then moves each rank up by the junk before it.
    ranks = [rank for rank, image in enumerate(ranked) if image in positives]
    junk = [rank for rank, image in enumerate(ranked) if image in ignore]
    moved = [rank - sum(other < rank for other in junk) for rank in ranks]
    total = 0.0
    for found, rank in enumerate(moved):
        before = 1.0 if rank == 0 else found / rank
        total += (before + (found + 1) / (rank + 1)) * (1 / len(positives)) / 2
    assert revisited_oxford_average_precision(ranked, positives, ignore) == pytest.approx(total)


def test_recall_at():
    assert recall_at(1, ["a", "b"], {"b"}) == 0
    assert recall_at(2, ["a", "b"], {"b"}) == 1
    assert recall_at(1, ["a", "b"], {"b"}, {"a"}) == 1
    assert recall_at(5, [], {"b"}) == 0


def test_micro_average_precision_equals_scikit_learn():
    assert micro_average_precision(SCORES, CORRECT, sum(CORRECT)) == pytest.approx(MICRO, abs=1e-12)
    found = micro_average_precision(DISTINCT, DISTINCT_CORRECT, sum(DISTINCT_CORRECT))
    assert found == pytest.approx(DISTINCT_AVERAGE, abs=1e-12)


def test_curve_equals_scikit_learn():
    curve = precision_recall_curve(SCORES, CORRECT, sum(CORRECT))
    assert curve.thresholds.tolist() == [9, 8, 7, 5, 4, 3, 2, 1, 0, -1.5]
    assert curve.declared.tolist() == [1, 3, 6, 7, 9, 10, 12, 13, 15, 16]
    assert curve.precision == pytest.approx(PRECISION)
    assert curve.recall == pytest.approx(RECALL)


def test_micro_average_precision_by_hand():
    # Two queries with one correct answer each, and one without, whose hit at 5 lowers the precision at 3.
    assert micro_average_precision([9, 5, 3], [True, False, True], 2) == pytest.approx((1 + 2 / 3) / 2)
    assert micro_average_precision([9], [True], 2) == pytest.approx(1 / 2)  # one correct answer is not found
    assert micro_average_precision([], [], 2) == 0
    assert micro_average_precision([1.0], [False], 0) == 0


@given(hits, st.integers(0, 3))
def test_micro_average_precision_by_its_definition(pairs, missing):
    total = sum(correct for _, correct in pairs) + missing
    expected, recall = 0.0, 0.0
    for threshold in sorted({score for score, _ in pairs}, reverse=True):
        declared = [correct for score, correct in pairs if score >= threshold]
        now = sum(declared) / max(1, total)
        expected += (now - recall) * sum(declared) / len(declared)
        recall = now
    found = micro_average_precision([s for s, _ in pairs], [r for _, r in pairs], total)
    assert found == pytest.approx(expected)


@given(hits, st.integers(0, 3), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_operating_point_by_its_definition(pairs, missing, least):
    total = sum(correct for _, correct in pairs) + missing
    best, at = 0.0, None
    for threshold in sorted({score for score, _ in pairs if score > -math.inf}, reverse=True):
        declared = [correct for score, correct in pairs if score >= threshold]
        if sum(declared) / len(declared) >= least and sum(declared) / max(1, total) > best:
            best, at = sum(declared) / max(1, total), threshold
    scores, correct = [s for s, _ in pairs], [r for _, r in pairs]
    point = operating_point(scores, correct, total, least)
    assert (point.recall if point else 0.0) == pytest.approx(best)
    assert (point.threshold if point else None) == at
    if point:
        assert at_threshold(scores, correct, total, point.threshold) == point


def test_operating_point_by_hand():
    scores, correct = [9, 8, 7, 6, 5], [True, True, False, True, False]
    assert operating_point(scores, correct, 4, 1.0).recall == 2 / 4
    assert operating_point(scores, correct, 4, 0.75).recall == 3 / 4
    assert operating_point([2, 1], [False, True], 1, 0.9) is None


def test_a_threshold_that_accepts_nothing():
    point = at_threshold([1.0, 2.0], [True, True], 2, math.inf)
    assert (point.precision, point.recall, point.declared) == (1, 0, 0)
    assert point.to_dict() == {"threshold": None, "precision": 1.0, "recall": 0.0, "declared": 0}
