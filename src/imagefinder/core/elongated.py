"""Elongated images: panoramas, film strips and long screenshots, with sides of more than 8 to 1.

Reduced by its longer side, such an image would lose all details. So it is treated as a row of up to 16 parts of 4
to 1: more keypoints, at more resolution, and a longer thumbnail. Networks are not concerned: their preprocessing
is that of the published weights, and shows them the middle of the image.
"""

from __future__ import annotations

import math

LIMIT = 8
"""Ratio of the sides from which on an image is elongated."""

PARTS = 16
"""Largest number of parts, which bounds the cost of an image."""


def is_elongated(width: float, height: float) -> bool:
    """Whether an image of this size is elongated."""
    return max(width, height) > LIMIT * min(width, height)


def longer_side(width: int, height: int, side: int) -> int:
    """Length to which the longer side of an image is reduced, where that of others is reduced to ``side``.

    An elongated image is reduced as if it consisted of parts of 4 to 1.
    """
    if not is_elongated(width, height):
        return side
    return round(side * min(PARTS, max(width, height) / min(width, height) / 4))


def diagonal(width: float, height: float) -> float:
    """The diagonal in pixels, by which tolerances scale; of an elongated image that of one of its parts."""
    return math.hypot(min(width, LIMIT * height), min(height, LIMIT * width))
