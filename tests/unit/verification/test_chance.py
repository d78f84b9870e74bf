import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.verification.chance import log10_tail


def tail(number, agreeing, likely):
    """The binomial's tail, added up."""
    return sum(
        math.comb(number, k) * likely**k * (1 - likely) ** (number - k) for k in range(agreeing, number + 1)
    )


@given(st.integers(1, 60), st.integers(0, 60), st.floats(0.01, 0.99))
def test_it_bounds_the_tail_and_is_no_more_than_certain(number, agreeing, likely):
    bound = log10_tail(number, min(agreeing, number), likely)
    assert bound <= 0
    assert 10**bound >= tail(number, min(agreeing, number), likely) * (1 - 1e-9)


def test_all_of_them_agree():
    assert log10_tail(10, 10, 0.1) == pytest.approx(-10)
