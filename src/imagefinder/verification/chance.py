"""How often chance alone makes many things agree."""

from __future__ import annotations

import math


def log10_tail(number: int, agreeing: int, likely: float) -> float:
    """Logarithm to base 10 of a bound on how probably so many of independent things agree, or more.

    Chernoff's inequality for the tail of the binomial; 0 where that many are to be expected.

    Args:
        number: Of things, at least 1.
        agreeing: How many of them agree.
        likely: The probability that one does; above 0, below 1.
    """
    share = agreeing / number
    if share <= likely:
        return 0.0
    divergence = share * math.log(share / likely)
    if share < 1:
        divergence += (1 - share) * math.log((1 - share) / (1 - likely))
    return -number * divergence / math.log(10)
