"""Tail probabilities of impostor values: empirical frequencies, with an exponential tail.

Where the sample is dense, its empirical frequencies are used. Above a threshold, the probability decreases
exponentially, which is the simplest limit distribution of excesses over a high threshold; its scale is the mean
excess. Multiplied by the number of images searched, the probability is an E-value: the expected number of images
that do as well by chance.

Sources. Tails above a threshold: J. Pickands, "Statistical inference using extreme order statistics", Annals of
Statistics 3(1), 1975. E-values: S. Karlin, S. Altschul, "Methods for assessing the statistical significance of
molecular sequence features by using general scoring schemes", PNAS 87(6), 1990.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEWEST = 20
"""Minimum number of values that the tail is fitted to, if the sample has as many."""

SHARE = 0.01
"""Fraction of all examined images whose values the tail is fitted to, if that is more."""

WEIGHT = 10.0
"""Weight of the expected scale, as a number of values: with few values, the sample scale is unreliable."""

_KNOTS = 48


@dataclass(frozen=True, slots=True)
class ExponentialTail:
    """Empirical frequencies up to a threshold, and an exponential tail above it.

    Attributes:
        knots: Increasing values; the last one is the threshold.
        log10_shares: Log10 of the probability to reach each knot; non-increasing.
        scale: Scale of the exponential tail, in units of the values; positive.
    """

    knots: tuple[float, ...]
    log10_shares: tuple[float, ...]
    scale: float

    def log10_p(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log10 of the probability that a wrong image reaches each value; non-increasing in the value."""
        body = np.interp(values, self.knots, self.log10_shares)
        beyond = np.maximum(np.asarray(values) - self.knots[-1], 0) / (self.scale * math.log(10))
        return np.asarray(body - beyond, dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """The tail as JSON data; ``TailCalibrator.read`` is the inverse."""
        return {"knots": list(self.knots), "log10_shares": list(self.log10_shares), "scale": self.scale}


class TailCalibrator:
    """Fits exponential tails."""

    def fit(self, values: NDArray[np.float64], *, total: int, floor: float, scale: float) -> ExponentialTail:
        """Fit the tail of a sample; see ``core.contracts.Calibrator`` for the arguments."""
        if len(values) == 0:
            return ExponentialTail((floor,), (math.log10(1 / (total + 1)),), scale)
        rising = np.sort(values)
        top = min(len(rising), max(FEWEST, round(SHARE * total)))
        threshold = rising[-top]
        excess = float(np.sum(rising[-top:] - threshold))
        # From the threshold down to the smallest value, evenly spaced in the logarithm of the rank.
        ranks = np.geomspace(top, len(rising), _KNOTS).round().astype(int)
        knots = np.array(sorted(set(rising[-ranks].tolist())))
        reached = len(rising) - np.searchsorted(rising, knots, side="left")
        return ExponentialTail(
            tuple(knots.tolist()),
            tuple(np.log10(np.minimum(1.0, (reached + 1) / (total + 1))).tolist()),
            (excess + WEIGHT * scale) / (top + WEIGHT),
        )

    def read(self, data: Mapping[str, Any]) -> ExponentialTail:
        """The tail that ``ExponentialTail.to_dict`` returned.

        Raises:
            ValueError: the data are not a tail.
        """
        try:
            knots, shares = ([float(value) for value in data[name]] for name in ("knots", "log10_shares"))
            scale = float(data["scale"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a tail: {error!r}") from error
        sound = len(knots) == len(shares) > 0 and scale > 0 and bool(np.isfinite([*knots, *shares, scale]).all())
        if not sound or knots != sorted(knots) or shares != sorted(shares, reverse=True):
            raise ValueError("not a tail: its values are out of order")
        return ExponentialTail(tuple(knots), tuple(shares), scale)
