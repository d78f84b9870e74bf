import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.verification.chance import log10_tail


def tail(number, agreeing, likely):
    """The binomial tail, computed as a sum."""
    return sum(
        math.comb(number, k) * likely**k * (1 - likely) ** (number - k) for k in range(agreeing, number + 1)
    )


@given(st.integers(1, 60), st.integers(0, 60), st.floats(0.01, 0.99))
def test_it_is_an_upper_bound_of_at_most_1(number, agreeing, likely):
    bound = log10_tail(number, min(agreeing, number), likely)
    assert bound <= 0
    assert 10**bound >= tail(number, min(agreeing, number), likely) * (1 - 1e-9)


def test_all_events_occur():
    assert log10_tail(10, 10, 0.1) == pytest.approx(-10)
