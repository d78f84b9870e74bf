"""From scores to the best few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SHORTLIST = 50
"""So many of the best by the score of a method with keypoints are looked at closely."""

SHORTLIST_WITHOUT_KEYPOINTS = 20
"""And so many of the best by any other method's."""

Ranked = list[tuple[str, float]]
"""(id, score), best first; equal scores in order of id."""


def best(ids: Sequence[str], scores: NDArray[np.float64], k: int) -> Ranked:
    """The ``k`` best images, all of them where there are fewer.

    Args:
        ids: One per image.
        scores: ``(len(ids),)`` float64; higher is better.
        k: At least 1.
    """
    if k < len(scores):
        threshold = np.partition(scores, -k)[-k]
        candidates = np.flatnonzero(scores >= threshold)
    else:
        candidates = np.arange(len(scores))
    return merge([[(ids[i], float(scores[i])) for i in candidates.tolist()]], k)


def merge(parts: Sequence[Ranked], k: int) -> Ranked:
    """The ``k`` best of several rankings of different images."""
    return sorted((pair for part in parts for pair in part), key=lambda pair: (-pair[1], pair[0]))[:k]
