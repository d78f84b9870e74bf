from dataclasses import replace

import pytest

from imagefinder.evaluation.advice import advise, at_worst
from imagefinder.evaluation.metrics import OperatingPoint
from imagefinder.evaluation.protocol import Evaluation

BEST = Evaluation(
    dataset="d",
    method="auto",
    ranking="evidence",
    fingerprint="abc",
    images=50,
    queries=40,
    unanswerable=10,
    mean_average_precision=0.95,
    oxford_mean_average_precision=0.94,
    recall_at_1=0.9,
    recall_at_5=0.95,
    recall_at_10=1.0,
    micro_average_precision=0.93,
    unit="E-value",
    at_99=OperatingPoint(3e-5, 1.0, 0.8, 32),
    at_90=OperatingPoint(0.02, 0.91, 0.9, 39),
    as_matches=OperatingPoint(0.01, 0.97, 0.85, 35),
    false_alarms=1,
    wrong_per_query={1.0: 0.8, 0.1: 0.1, 0.01: 0.0},
    kinds=(),
    curve=((0.8, 1.0), (0.9, 0.91)),
    median_seconds={"match": 0.1, "total": 0.4},
    seconds=20.0,
    peak_bytes=500_000_000,
    mistakes=(),
)


def other(name, average, seconds):
    return replace(BEST, method=name, mean_average_precision=average, median_seconds={"total": seconds})


def test_the_best_method_and_its_threshold():
    advice = advise([other("sift", 0.7, 0.1), BEST])
    assert (advice.method, advice.quicker, advice.threshold) == ("auto", "", 3e-5)
    first, second, third = advice.sentences
    assert "--method auto" in first
    assert "mAP 0.950" in first
    assert "90% of 40 queries, 400 ms each" in first
    assert "E-value of at most 3e-05: 32 hits" in second
    assert "finds 80.0%" in second
    assert "up to 7.8% are wrong" in second
    assert "34 of 35 cases" in third
    assert "Of 10 queries that nothing in the gallery answers, 1 got a match" in third
    assert advice.to_dict()["sentences"] == [first, second, third]


def test_a_quicker_one_is_named_when_it_is_nearly_as_good():
    assert advise([BEST, other("net", 0.945, 0.05)]).quicker == "net"
    assert advise([BEST, other("net", 0.945, 0.3)]).quicker == ""
    assert advise([BEST, other("net", 0.90, 0.05)]).quicker == ""
    assert advise([BEST, other("net", 0.95, 0.3)]).method == "net"


def test_no_threshold():
    advice = advise([replace(BEST, at_99=None)])
    assert advice.threshold is None
    assert "No threshold" in advice.sentences[1]


def test_scores_instead_of_evalues():
    point = OperatingPoint(0.83, 1.0, 0.5, 20)
    advice = advise([replace(BEST, unit="score", at_99=point, as_matches=None, false_alarms=None)])
    assert len(advice.sentences) == 2
    assert "a score of at least 0.83" in advice.sentences[1]


def test_nothing_is_called_a_match():
    advice = advise([replace(BEST, as_matches=OperatingPoint(0.01, 1.0, 0.0, 0), unanswerable=0)])
    assert advice.sentences[-1] == "Nothing was called a match."


@pytest.mark.parametrize(
    ("wrong", "of", "expected"),
    # Wilson's interval by hand: with none wrong it is z^2 / (n + z^2).
    [(0, 32, 2.706 / 34.706), (0, 1000, 2.706 / 1002.706), (5, 10, 0.7308)],
)
def test_what_may_be_wrong_for_all_that_is_known(wrong, of, expected):
    assert at_worst(wrong, of) == pytest.approx(expected, abs=2e-4)
