"""Comparison of local features by mutual nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import NearScores
from imagefinder.core.features import Features, LocalFeatures
from imagefinder.kernels import mutual_nn
from imagefinder.kernels.threads import share

NEARNESS = 0.85
"""Minimum cosine of a near match, which is rare by chance among SIFT descriptors."""


class MutualNNMatcher:
    """Scores local features by the number of mutual nearest neighbours."""

    def __init__(self, *, threads: int | None = None) -> None:
        """Create a matcher.

        Args:
            threads: Maximum number of threads of a score; computations in progress share the cores.
        """
        self._threads = threads

    def score(self, query: Features, gallery: Features) -> NDArray[np.float64]:
        """Number of mutual nearest neighbours with each gallery image: ``(B,)`` float64, whole numbers."""
        q, g = _local(query), _local(gallery)
        return mutual_nn.count(q.descriptors, g.descriptors, g.offsets, threads=share(self._threads)).astype(
            np.float64
        )

    def score_near(self, query: Features, gallery: Features, *, room: int = 0) -> NearScores:
        """The scores, the numbers of near matches, and at most ``room`` matches of as many images as fit."""
        q, g = _local(query), _local(gallery)
        found = mutual_nn.count_near(
            q.descriptors, g.descriptors, g.offsets, nearness=NEARNESS, room=room, threads=share(self._threads)
        )
        return NearScores(found.counts.astype(np.float64), found.near.astype(np.float64), found.pairs)

    def matches(self, query: Features, candidate: Features) -> NDArray[np.int64]:
        """The mutual nearest neighbours of two images: ``(M, 2)`` int64 pairs (query, candidate), sorted."""
        return mutual_nn.pairs(_local(query).descriptors, _local(candidate).descriptors)

    def matches_all(
        self, query: Features, candidates: Sequence[Features], *, threads: int
    ) -> list[NDArray[np.int64]]:
        """The matches of the query and each candidate."""
        descriptors = [_local(candidate).descriptors for candidate in candidates]
        return mutual_nn.pairs_all(_local(query).descriptors, descriptors, threads=threads)


def _local(features: Features) -> LocalFeatures:
    if not isinstance(features, LocalFeatures):
        raise TypeError("mutual nearest neighbours require local features")
    return features
