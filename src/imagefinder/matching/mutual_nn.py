"""Local features compared by counting mutual nearest neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.features import Features, LocalFeatures
from imagefinder.kernels import mutual_nn

NEARNESS = 0.85
"""Cosine of a match that is hardly ever chance, among SIFT's descriptors."""


class MutualNNMatcher:
    """Score = number of mutual nearest neighbours, an integer."""

    def score(self, query: Features, gallery: Features) -> NDArray[np.float64]:
        """See ``core.contracts.Matcher``."""
        q, g = _local(query), _local(gallery)
        return mutual_nn.count(q.descriptors, g.descriptors, g.offsets).astype(np.float64)

    def score_near(self, query: Features, gallery: Features) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See ``core.contracts.NearMatcher``."""
        q, g = _local(query), _local(gallery)
        counts, near = mutual_nn.count_near(q.descriptors, g.descriptors, g.offsets, nearness=NEARNESS)
        return counts.astype(np.float64), near.astype(np.float64)

    def matches(self, query: Features, candidate: Features) -> NDArray[np.int64]:
        """See ``core.contracts.Matcher``."""
        return mutual_nn.pairs(_local(query).descriptors, _local(candidate).descriptors)


def _local(features: Features) -> LocalFeatures:
    if not isinstance(features, LocalFeatures):
        raise TypeError("mutual nearest neighbours are defined for local features")
    return features
