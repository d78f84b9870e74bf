"""Ranking: best first, ties by id."""

from __future__ import annotations

from collections.abc import Sequence
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
    return [(ids[row], float(scores[row])) for row in best_rows(ids, scores, k)]


def best_rows(ids: Sequence[str], scores: NDArray[np.float64], k: int) -> list[int]:
    """The rows of the images that ``best`` returns."""
    chosen = _smallest(-scores, np.arange(len(scores)), k).tolist()
    return sorted(chosen, key=lambda row: (-scores[row], ids[row]))[:k]


def by_evalue(
    ids: Sequence[str], log10_evalues: NDArray[np.float64], strength: NDArray[np.float64], k: int | None
) -> list[str]:
    """The ids of the ``k`` images with the smallest E-values; ties are ordered by strength, then by id.

    Args:
        ids: Ids of the images.
        log10_evalues: ``(len(ids),)`` float64, log10 of the E-values.
        strength: ``(len(ids),)`` float64, sums of the standardised scores.
        k: Maximum number of images; ``None``: all.
    """
    k = len(ids) if k is None else k
    # Most images of a large collection share the largest E-value, so only those that may be hits are sorted.
    chosen = _smallest(log10_evalues, np.arange(len(ids)), k)
    last = log10_evalues[chosen].max(initial=-np.inf)
    tied = chosen[log10_evalues[chosen] == last]
    better = chosen[log10_evalues[chosen] < last]
    chosen = np.concatenate([better, _smallest(-strength, tied, k - len(better))])
    order = sorted((float(log10_evalues[row]), -float(strength[row]), ids[row]) for row in chosen.tolist())
    return [image_id for *_, image_id in order[:k]]


def _smallest(values: NDArray[np.float64], rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """The rows with the ``k`` smallest values and all that tie with the last of them, in the order of the rows."""
    if k >= len(rows):
        return rows
    some = values[rows]
    chosen: NDArray[np.int64] = rows[some <= np.partition(some, k - 1)[k - 1]]
    return chosen
