from dataclasses import replace

import pytest

from imagefinder.evaluation.advice import advise, error_rate_bound
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
    by_edit=(),
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
    assert (advice.method, advice.faster, advice.threshold) == ("auto", "", 3e-5)
    first, second, third = advice.sentences
    assert "--method auto" in first
    for number in ("0.950", "90%", "40 queries", "400 ms"):
        assert number in first
    for number in ("3e-05", "32 such hits", "80.0%", "up to 7.8%"):
        assert number in second
    for number in ("35 hits", "34 are correct", "85.0%", "10 queries", "1 still got a match"):
        assert number in third
    assert advice.to_dict()["sentences"] == [first, second, third]


def test_a_faster_method_is_recommended_if_it_is_nearly_as_accurate():
    assert advise([BEST, other("net", 0.945, 0.05)]).faster == "net"
    assert advise([BEST, other("net", 0.945, 0.3)]).faster == ""
    assert advise([BEST, other("net", 0.90, 0.05)]).faster == ""
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


def test_no_matches():
    advice = advise([replace(BEST, as_matches=OperatingPoint(0.01, 1.0, 0.0, 0), unanswerable=0)])
    assert advice.sentences[-1].startswith("No hit ")


@pytest.mark.parametrize(
    ("wrong", "of", "expected"),
    # Wilson score interval by hand: without errors, it is z^2 / (n + z^2).
    [(0, 32, 2.706 / 34.706), (0, 1000, 2.706 / 1002.706), (5, 10, 0.7308)],
)
def test_error_rate_bound(wrong, of, expected):
    assert error_rate_bound(wrong, of) == pytest.approx(expected, abs=2e-4)
