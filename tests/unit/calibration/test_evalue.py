import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imagefinder.calibration.evalue import ExponentialTail, TailCalibrator

values = arrays(np.float64, st.integers(0, 300), elements=st.floats(-1e3, 1e3))


def fit(sample, total=None, floor=0.0, scale=1.0):
    sample = np.asarray(sample, dtype=np.float64)
    return TailCalibrator().fit(sample, total=len(sample) if total is None else total, floor=floor, scale=scale)


@given(values, st.integers(0, 1000), st.lists(st.floats(-2e3, 2e3), min_size=2, max_size=20))
def test_probabilities_do_not_increase(sample, more, values):
    tail = fit(sample, total=len(sample) + more)
    logs = tail.log10_p(np.array(sorted(values)))
    assert (logs <= 1e-12).all()
    assert (np.diff(logs) <= 1e-12).all()
    assert np.isfinite(logs).all()


@given(values, st.integers(0, 1000))
def test_json_round_trip(sample, more):
    tail = fit(sample, total=len(sample) + more)
    assert TailCalibrator().read(json.loads(json.dumps(tail.to_dict()))) == tail


def test_the_body_has_the_frequencies_of_the_sample():
    sample = np.random.default_rng(0).normal(size=20_000)
    tail = fit(sample, scale=0.5)
    for value in (-1.0, 0.0, 1.0, 2.0):
        assert tail.log10_p(np.array([value]))[0] == pytest.approx(math.log10((sample >= value).mean()), abs=0.02)


def test_the_tail_is_exponential_beyond_the_sample():
    sample = np.random.default_rng(1).exponential(2.0, size=50_000)
    tail = fit(sample, scale=2.0)
    for value in (20.0, 30.0, 60.0):
        assert tail.log10_p(np.array([value]))[0] == pytest.approx(-value / 2 / math.log(10), rel=0.06)


def test_pairs_without_a_value_count():
    rare, common = fit([3.0] * 30, total=30_000), fit([3.0] * 30, total=30)
    assert rare.log10_p(np.array([3.0]))[0] == pytest.approx(math.log10(31 / 30_001))
    assert common.log10_p(np.array([3.0]))[0] == 0


def test_unseen_values_are_at_most_as_likely_as_one_observation():
    tail = fit([], total=999, floor=2.0, scale=3.0)
    assert tail.log10_p(np.array([2.0]))[0] == pytest.approx(-3)
    assert tail.log10_p(np.array([2.0 + 3 * math.log(10)]))[0] == pytest.approx(-4)


def test_few_values_keep_the_scale_near_the_prior():
    assert fit([1.0], scale=5.0).scale == pytest.approx(5.0 * 10 / 11)
    assert fit([0.0] * 2000, scale=5.0).scale < 2.5


@pytest.mark.parametrize(
    "data",
    [
        {},
        None,
        {"knots": [], "log10_shares": [], "scale": 1},
        {"knots": [1, 0], "log10_shares": [0, -1], "scale": 1},
        {"knots": [0, 1], "log10_shares": [-1, 0], "scale": 1},
        {"knots": [0, 1], "log10_shares": [0], "scale": 1},
        {"knots": [0], "log10_shares": [0], "scale": 0},
        {"knots": [0], "log10_shares": [float("nan")], "scale": 1},
        {"knots": ["x"], "log10_shares": [0], "scale": 1},
    ],
)
def test_invalid_tails_are_rejected(data):
    with pytest.raises(ValueError, match=r"not a tail|could not convert"):
        TailCalibrator().read(data)


def test_evalues_are_valid_for_new_wrong_images():
    generator = np.random.default_rng(2)
    tail = fit(generator.normal(size=64_000), scale=0.6)
    images, queries = 500, 400
    expected = images * 10.0 ** tail.log10_p(generator.normal(size=(queries, images)))
    for limit in (1, 0.1, 0.01):
        found = (expected <= limit).sum() / queries
        assert found == pytest.approx(limit, abs=3 * math.sqrt(limit / queries))


def test_is_plain_data():
    assert ExponentialTail((0.0,), (0.0,), 1.0).to_dict() == {"knots": [0.0], "log10_shares": [0.0], "scale": 1.0}
