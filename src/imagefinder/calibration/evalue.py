"""How often wrong pictures reach a value: as often as they did in a sample, beyond it ever more rarely.

Where the sample has many values its own frequencies are taken. Above a threshold they follow an exponential law,
the simplest of those that the excesses over a high threshold can tend to, with the mean excess as its scale. Times
the number of pictures compared, this is an E-value: how many of them would do as well by chance.

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
"""The tail is fitted to at least so many values, where there are so many."""

SHARE = 0.01
"""And to this part of all that was looked at, if that is more."""

WEIGHT = 10.0
"""So many values of the expected scale are added to the sample: a few values leave the scale to luck."""

_KNOTS = 48


@dataclass(frozen=True, slots=True)
class ExponentialTail:
    """Frequencies up to a threshold, an exponential law above.

    Attributes:
        knots: Rising values; the last one is the threshold.
        log10_shares: For each, the logarithm to base 10 of the probability to reach it; never rises.
        scale: Of the exponential law, in units of the values; above 0.
    """

    knots: tuple[float, ...]
    log10_shares: tuple[float, ...]
    scale: float

    def log10_p(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """See ``core.contracts.Tail``."""
        body = np.interp(values, self.knots, self.log10_shares)
        beyond = np.maximum(np.asarray(values) - self.knots[-1], 0) / (self.scale * math.log(10))
        return np.asarray(body - beyond, dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """See ``core.contracts.Tail``."""
        return {"knots": list(self.knots), "log10_shares": list(self.log10_shares), "scale": self.scale}


class TailCalibrator:
    """Fits exponential tails."""

    def fit(self, values: NDArray[np.float64], *, total: int, floor: float, scale: float) -> ExponentialTail:
        """See ``core.contracts.Calibrator``."""
        if len(values) == 0:
            return ExponentialTail((floor,), (math.log10(1 / (total + 1)),), scale)
        rising = np.sort(values)
        top = min(len(rising), max(FEWEST, round(SHARE * total)))
        threshold = rising[-top]
        excess = float(np.sum(rising[-top:] - threshold))
        # Down from the threshold to the least value, evenly by the logarithm of the rank.
        ranks = np.geomspace(top, len(rising), _KNOTS).round().astype(int)
        knots = np.unique(rising[-ranks])
        reached = len(rising) - np.searchsorted(rising, knots, side="left")
        return ExponentialTail(
            tuple(knots.tolist()),
            tuple(np.log10(np.minimum(1.0, (reached + 1) / (total + 1))).tolist()),
            (excess + WEIGHT * scale) / (top + WEIGHT),
        )

    def read(self, data: Mapping[str, Any]) -> ExponentialTail:
        """See ``core.contracts.Calibrator``."""
        try:
            knots, shares = ([float(value) for value in data[name]] for name in ("knots", "log10_shares"))
            scale = float(data["scale"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a tail: {error!r}") from error
        sound = len(knots) == len(shares) > 0 and scale > 0 and bool(np.isfinite([*knots, *shares, scale]).all())
        if not sound or knots != sorted(knots) or shares != sorted(shares, reverse=True):
            raise ValueError("not a tail: its values are out of order")
        return ExponentialTail(tuple(knots), tuple(shares), scale)
