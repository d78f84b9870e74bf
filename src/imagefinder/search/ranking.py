"""From scores to the best few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.results import Evidence

SHORTLIST = 50
"""So many of the best by score are verified."""

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


def by_evidence(ranked: Ranked, found: Mapping[str, Evidence | None]) -> Ranked:
    """Those with evidence first, by inliers; equal ones, and those without, keep their order."""

    def inliers(pair: tuple[str, float]) -> int:
        evidence = found.get(pair[0])
        return evidence.inliers if evidence else 0

    return sorted(ranked, key=inliers, reverse=True)
