"""Quantiles, without the modules that ``np.quantile`` imports at its first call (a twentieth of a start)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def quantiles(values: ArrayLike, shares: tuple[float, ...]) -> list[float]:
    """Quantiles by linear interpolation, equal to those of ``np.quantile``.

    Args:
        values: ``(N,)`` real numbers, at least one, none of them NaN.
        shares: From 0 to 1.
    """
    array = np.asarray(values).ravel()
    found = []
    for share in shares:
        at, part = divmod(share * (len(array) - 1), 1)
        below, above = int(at), min(int(at) + 1, len(array) - 1)
        low, high = np.partition(array, (below, above))[[below, above]].tolist()
        # From the nearer end, as NumPy does, for equal rounding.
        found.append(low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part))
    return found
