"""Scores of the images of all segments, and selection of the best candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imagefinder.ann.arrays import Arrays
from imagefinder.ann.codec import Codec
from imagefinder.ann.segment import Keys, Segment, SegmentScores, contains
from imagefinder.core.features import Features
from imagefinder.core.records import Proposals

MAPPED_BYTES = 2 << 30
"""Maximum size of all segments up to which the pages that queries have read stay in the memory of the process."""

_NO_SCORE = -1e300
"""Score of an image that shares no word with the query."""


def score_segments(
    codec: Codec, model: Arrays, queries: Features, segments: Sequence[Segment]
) -> list[list[SegmentScores]]:
    """Score the images of all segments against each query; large segments do not stay in memory."""
    scores = codec.score(model, queries, segments)
    if sum(segment.nbytes for segment in segments) > MAPPED_BYTES:
        for segment in segments:
            segment.release()
    return scores


def best_proposals(
    waiting: Keys, segments: Sequence[tuple[Segment, NDArray[np.bool_]]], found: Sequence[SegmentScores], n: int
) -> Proposals:
    """The images that are not indexed yet, followed by the ``n`` best images of all segments.

    Args:
        waiting: Keys of images that are not indexed yet; all of them are proposed.
        segments: Each segment with ``(B,)`` bool, which marks the images that still exist.
        found: The scores of each segment.
        n: Number of images to propose from the segments; fewer only if there are fewer.
    """
    keys, scores = [waiting[:0]], [np.empty(0)]
    for some, (segment, alive) in zip(found, segments, strict=True):
        rows = _best_rows(some, alive, n)  # before looking up their keys, which are scattered in memory
        keys.append(segment.keys[some.rows[rows]])
        scores.append(some.scores[rows])
    best, its_scores = _best(np.concatenate(keys), np.concatenate(scores), n)
    for segment, alive in segments:  # if few images share a word with the query, fill up with others
        if len(best) < n:
            rest = segment.keys[alive][:n]
            rest = rest[~contains(np.sort(best), rest)][: n - len(best)]
            best = np.concatenate([best, rest])
    its_scores = np.concatenate([its_scores, np.full(len(best) - len(its_scores), _NO_SCORE)])
    return Proposals(np.concatenate([waiting, best]), np.concatenate([np.full(len(waiting), np.inf), its_scores]))


def _best(keys: Keys, scores: NDArray[np.float64], n: int) -> tuple[Keys, NDArray[np.float64]]:
    """The ``n`` keys with the highest scores, and these scores, best first; ties are ordered by key."""
    if n < len(scores):
        kept = scores >= np.partition(scores, -n)[-n]
        keys, scores = keys[kept], scores[kept]
    order = np.lexsort((keys, -scores))[:n]
    return keys[order], scores[order]


def _best_rows(found: SegmentScores, alive: NDArray[np.bool_], n: int) -> NDArray[np.int64]:
    """Indices of the scored images that still exist and are among the ``n`` best, including ties."""
    kept = alive[found.rows]
    if n < len(kept):
        scores = np.where(kept, found.scores, -np.inf)
        kept &= scores >= np.partition(scores, -n)[-n]
    return np.flatnonzero(kept)
