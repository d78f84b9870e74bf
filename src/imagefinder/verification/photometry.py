"""Do two pictures look alike where one lies on the other?

A common geometry is not yet a common picture: two cartons of one brand share their logo, two views of a house
share its front. An edited copy agrees nearly everywhere. So one picture is warped onto the other, and each small
window is asked whether the brightness in it rises and falls together (normalised cross-correlation, which does not
see a change of brightness or contrast). Windows without texture say nothing. What is returned is the share of the
others that agree: text or a frame laid over a copy costs the windows it covers, and no more.

Sources. Normalised cross-correlation: J. P. Lewis, "Fast template matching", Vision Interface 1995. The bound of
a share: E. B. Wilson, "Probable inference", JASA 22(158), 1927.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from imagefinder.core.features import RgbImage
from imagefinder.core.results import Evidence, Size

Array: TypeAlias = NDArray[np.float32]

SIDE = 256
"""The candidate is compared at this longer side: that of a thumbnail, and all that is compared must be there."""

WINDOW = 16
"""Pixels of a side."""

BLUR = 1.5
"""Standard deviation in pixels: a transform is right to about a pixel, and blurred copies have lost the rest."""

ALIKE = 0.6
"""A window agrees from this correlation on."""

TEXTURE = 0.05
"""A window has texture from this part of the mean variance on, in one of the pictures."""

FEWEST = 4
"""So many windows must lie side by side in what is compared."""


class WindowedPhotometricCheck:
    """Compares window by window."""

    def agreement(
        self, query: RgbImage, query_size: Size, candidate: RgbImage, candidate_size: Size, evidence: Evidence
    ) -> float | None:
        """See ``core.contracts.PhotometricCheck``; a cautious figure, lower where few windows can be compared."""
        there = _grey(candidate, min(1.0, SIDE / max(candidate.shape[:2])))
        matrix = _scaling(candidate_size, there) @ np.array(evidence.transform)
        # Reduced first to the size it will have: warping alone would pick single pixels.
        factor = _enlargement(matrix, query_size) * query_size[0] / query.shape[1]
        here = _grey(query, min(1.0, factor))
        matrix = matrix @ np.linalg.inv(_scaling(query_size, here))
        size = there.shape[1], there.shape[0]
        warped = cv2.warpPerspective(here, matrix, size, flags=cv2.INTER_LINEAR)
        inside = cv2.warpPerspective(np.ones_like(here), matrix, size, flags=cv2.INTER_LINEAR) > 0.99
        if np.count_nonzero(inside) < FEWEST * WINDOW**2:
            return None
        return _share(cv2.GaussianBlur(warped, (0, 0), BLUR), cv2.GaussianBlur(there, (0, 0), BLUR), inside)


def _grey(image: RgbImage, factor: float) -> Any:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if factor < 1:
        height, width = grey.shape
        size = max(1, round(width * factor)), max(1, round(height * factor))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return grey.astype(np.float32)


def _scaling(size: Size, pixels: Any) -> NDArray[np.float64]:
    """From pixels of a picture of that size to those of its version in hand; pixel centres are whole numbers."""
    x, y = pixels.shape[1] / size[0], pixels.shape[0] / size[1]
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _enlargement(matrix: NDArray[np.float64], size: Size) -> float:
    """Of lengths, in the middle of the picture."""
    middle = np.array([(size[0] - 1) / 2, (size[1] - 1) / 2, 1.0])
    x, y, depth = matrix @ middle
    derivative = (matrix[:2, :2] - np.outer((x / depth, y / depth), matrix[2, :2])) / depth
    return math.sqrt(abs(float(np.linalg.det(derivative))))


def _share(warped: Any, there: Any, inside: NDArray[np.bool_]) -> float | None:
    weights = inside.astype(np.float32)

    def sums(values: Any) -> Any:
        return cv2.boxFilter(
            values * weights, -1, (WINDOW, WINDOW), normalize=False, borderType=cv2.BORDER_CONSTANT
        )

    counts = np.maximum(sums(np.ones_like(there)), 1)
    compared = inside & (counts >= WINDOW**2 / 2)
    if not compared.any():  # a strip, or single lines
        return None
    means = [sums(side) / counts for side in (warped, there)]
    variances = [
        np.maximum(sums(side * side) / counts - mean * mean, 0)
        for side, mean in zip((warped, there), means, strict=True)
    ]
    covariance = sums(warped * there) / counts - means[0] * means[1]
    # In shares of each picture's own contrast; the 1 keeps noise of flat pictures from being texture.
    (a, b) = (variance[compared] / (variance[compared].mean() + 1) for variance in variances)
    textured = np.maximum(a, b) > TEXTURE
    windows = float(np.count_nonzero(textured)) / WINDOW**2
    if windows < FEWEST:
        return None
    products = np.sqrt(variances[0][compared] * variances[1][compared])[textured]
    correlations = covariance[compared][textured] / (products + 1e-3)
    return _lower_bound(float(np.mean(correlations > ALIKE)), windows)


def _lower_bound(share: float, number: float) -> float:
    """Of a share seen in so many cases: one standard deviation below, after Wilson."""
    spread = math.sqrt(share * (1 - share) / number + 1 / (4 * number**2))
    return max(0.0, (share + 1 / (2 * number) - spread) / (1 + 1 / number))
