"""Photometric consistency: how much of two registered images looks alike.

A common geometry does not make two images copies: two packages of one brand share a logo, two views of a house
share its facade. An edited copy agrees nearly everywhere. So one image is warped onto the other, and small windows
are compared by normalised cross-correlation, which ignores changes of brightness and contrast. Windows without
texture are ignored. The result is the fraction of the other windows that agree: text or a border added to a copy
costs only the windows it covers.

Sources. Normalised cross-correlation: J. P. Lewis, "Fast template matching", Vision Interface 1995. Confidence
bound of a fraction: E. B. Wilson, "Probable inference", JASA 22(158), 1927.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from imagefinder.core.elongated import longer_side
from imagefinder.core.features import RgbImage
from imagefinder.core.results import Evidence, Size
from imagefinder.kernels import pixels
from imagefinder.verification.registration import enlargement, focus, scaling

Array: TypeAlias = NDArray[np.float32]

SIDE = 256
"""Longer side in pixels at which the candidate is compared: that of a thumbnail."""

WINDOW = 16
"""Side of a window in pixels."""

BLUR = 1.5
"""Standard deviation of the blur in pixels; transforms are accurate to about a pixel, and copies may be
blurred."""

ALIKE = 0.6
"""Minimum correlation of a window that agrees."""

TEXTURE = 0.05
"""Minimum variance of a textured window in either image, as a fraction of the image's mean variance."""

FEWEST = 4
"""Minimum compared area, in windows."""


class WindowedPhotometricCheck:
    """Compares registered images window by window."""

    def agreement(
        self, query: RgbImage, query_size: Size, candidate: RgbImage, candidate_size: Size, evidence: Evidence
    ) -> float | None:
        """Fraction (0 to 1) of the overlap that looks alike; a lower bound, smaller if few windows are compared.

        ``None`` if too little overlaps.
        """
        images = focus((query, query_size), (candidate, candidate_size), np.array(evidence.transform))
        (query, query_size), (candidate, candidate_size), transform = images
        there = _grey(candidate, min(1.0, longer_side(*_size(candidate), SIDE) / max(candidate.shape[:2])))
        matrix = scaling(candidate_size, there) @ transform
        # Downscale first to the final size: warping alone would alias.
        factor = enlargement(matrix, query_size) * query_size[0] / query.shape[1]
        here = _grey(query, min(1.0, factor))
        matrix = matrix @ np.linalg.inv(scaling(query_size, here))
        size = there.shape[1], there.shape[0]
        warped = cv2.warpPerspective(here, matrix, size, flags=cv2.INTER_LINEAR)
        inside = cv2.warpPerspective(np.ones_like(here), matrix, size, flags=cv2.INTER_LINEAR) > 0.99
        if np.count_nonzero(inside) < FEWEST * WINDOW**2:
            return None
        return _share(_smooth(warped), _smooth(there), inside)


def _size(image: RgbImage) -> tuple[int, int]:
    return image.shape[1], image.shape[0]


def _grey(image: RgbImage, factor: float) -> Any:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if factor < 1:
        height, width = grey.shape
        size = max(1, round(width * factor)), max(1, round(height * factor))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return grey.astype(np.float32)


def _smooth(image: Any) -> Array:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), BLUR))


def _share(warped: Array, there: Array, inside: NDArray[np.bool_]) -> float | None:
    textured, alike = pixels.alike(warped, there, inside, side=WINDOW, texture=TEXTURE, least=ALIKE)
    windows = textured / WINDOW**2
    return None if windows < FEWEST else _lower_bound(alike / textured, windows)


def _lower_bound(share: float, number: float) -> float:
    """Wilson's lower bound, at one standard deviation, of a fraction observed in this many cases."""
    spread = math.sqrt(share * (1 - share) / number + 1 / (4 * number**2))
    return max(0.0, (share + 1 / (2 * number) - spread) / (1 + 1 / number))
