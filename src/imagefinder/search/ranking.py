"""Ranking: best first, ties by id."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ranked: TypeAlias = list[tuple[str, float]]
"""Pairs (id, score), best first; equal scores are ordered by id."""


def best(ids: Sequence[str], scores: NDArray[np.float64], k: int) -> Ranked:
    """The ``k`` images with the highest scores, or all images if there are fewer.

    Args:
        ids: Ids of the images.
        scores: ``(len(ids),)`` float64; higher is better.
        k: Maximum number of images, at least 1.
    """
    if k < len(scores):
        threshold = np.partition(scores, -k)[-k]
        chosen = np.flatnonzero(scores >= threshold)
    else:
        chosen = np.arange(len(scores))
    return sorted(((ids[i], float(scores[i])) for i in chosen.tolist()), key=lambda pair: (-pair[1], pair[0]))[:k]


def by_evalue(log10_evalues: Mapping[str, float], strength: Mapping[str, float], k: int | None) -> list[str]:
    """The ids of the ``k`` images with the smallest E-values; ties are ordered by strength, then by id.

    Args:
        log10_evalues: Image id -> log10 of its E-value.
        strength: Image id -> sum of its standardised scores.
        k: Maximum number of images; ``None``: all.
    """
    # Only the few hits are sorted, not all images.
    return heapq.nsmallest(
        len(log10_evalues) if k is None else k,
        log10_evalues,
        key=lambda image_id: (log10_evalues[image_id], -strength[image_id], image_id),
    )
