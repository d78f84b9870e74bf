"""Bounds on the probability of agreement by chance."""

from __future__ import annotations

import math


def log10_tail(number: int, agreeing: int, likely: float) -> float:
    """Log10 of an upper bound on the probability that at least ``agreeing`` of ``number`` events occur.

    The events are independent. This is Chernoff's bound for the binomial tail; 0 if that many are expected.

    Args:
        number: Number of events, at least 1.
        agreeing: Number of events that occur.
        likely: Probability of each event, between 0 and 1 (exclusive).
    """
    share = agreeing / number
    if share <= likely:
        return 0.0
    divergence = share * math.log(share / likely)
    if share < 1:
        divergence += (1 - share) * math.log((1 - share) / (1 - likely))
    return -number * divergence / math.log(10)
