"""The best candidates of all segments together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imagefinder.ann.segment import Keys, Segment, SegmentScores, contains
from imagefinder.core.records import Proposals

_NO_SCORE = -1e300
"""Score of an image that has nothing in common with the query."""


def best_proposals(
    waiting: Keys, segments: Sequence[tuple[Segment, NDArray[np.bool_]]], found: Sequence[SegmentScores], n: int
) -> Proposals:
    """The ``n`` best images of all segments, behind those that wait to be indexed.

    Args:
        waiting: Keys that no segment has yet; all of them are proposed.
        segments: Each with ``(B,)`` bool, which of its images are still there.
        found: The scores of each segment.
        n: How many to propose from the segments; fewer only if there are fewer.
    """
    keys, scores = [waiting[:0]], [np.empty(0)]
    for some, (segment, alive) in zip(found, segments, strict=True):
        rows = _best_rows(some, alive, n)  # before their keys are looked up, far apart in memory
        keys.append(segment.keys[some.rows[rows]])
        scores.append(some.scores[rows])
    best, its_scores = _best(np.concatenate(keys), np.concatenate(scores), n)
    for segment, alive in segments:  # the query has something in common with few images: others fill up
        if len(best) < n:
            rest = segment.keys[alive][:n]
            rest = rest[~contains(np.sort(best), rest)][: n - len(best)]
            best = np.concatenate([best, rest])
    its_scores = np.concatenate([its_scores, np.full(len(best) - len(its_scores), _NO_SCORE)])
    return Proposals(np.concatenate([waiting, best]), np.concatenate([np.full(len(waiting), np.inf), its_scores]))


def _best(keys: Keys, scores: NDArray[np.float64], n: int) -> tuple[Keys, NDArray[np.float64]]:
    """The ``n`` keys with the highest scores, the highest first, equal ones in order of keys; and their scores."""
    if n < len(scores):
        kept = scores >= np.partition(scores, -n)[-n]
        keys, scores = keys[kept], scores[kept]
    order = np.lexsort((keys, -scores))[:n]
    return keys[order], scores[order]


def _best_rows(found: SegmentScores, alive: NDArray[np.bool_], n: int) -> NDArray[np.int64]:
    """Those of the images found that are there and among the ``n`` best, equal ones included."""
    there = alive[found.rows]
    if n < len(there):
        scores = np.where(there, found.scores, -np.inf)
        there &= scores >= np.partition(scores, -n)[-n]
    return np.flatnonzero(there)
