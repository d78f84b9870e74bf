"""Global features compared by the cosine of the angle between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.features import Features, GlobalFeatures
from imagefinder.kernels import cosine


class CosineMatcher:
    """Score = cosine, between -1 and 1."""

    def score(self, query: Features, gallery: Features) -> NDArray[np.float64]:
        """See ``core.contracts.Matcher``."""
        if not isinstance(query, GlobalFeatures) or not isinstance(gallery, GlobalFeatures):
            raise TypeError("the cosine is defined for global features")
        return cosine.cosine(query.vectors[0], gallery.vectors)

    def matches(self, query: Features, candidate: Features) -> NDArray[np.int64]:
        """None: global features have no parts that could agree one by one."""
        del query, candidate
        return np.empty((0, 2), dtype=np.int64)
