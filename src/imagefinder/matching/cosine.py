"""Comparison of global features by cosine similarity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.features import Features, GlobalFeatures
from imagefinder.kernels import cosine


class CosineMatcher:
    """Scores global features by cosine similarity, from -1 to 1."""

    def score(self, query: Features, gallery: Features) -> NDArray[np.float64]:
        """Cosine similarity between the query and each gallery image: ``(B,)`` float64."""
        if not isinstance(query, GlobalFeatures) or not isinstance(gallery, GlobalFeatures):
            raise TypeError("cosine similarity requires global features")
        return cosine.cosine(query.vectors[0], gallery.vectors)

    def matches(self, query: Features, candidate: Features) -> NDArray[np.int64]:
        """Always ``(0, 2)``: global features have no descriptors to match."""
        del query, candidate
        return np.empty((0, 2), dtype=np.int64)
