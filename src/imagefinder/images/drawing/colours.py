"""Colours of the page, of matches and of heat maps."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.results import Point, Size

PAGE, INK, SOFT = (250, 250, 252), (28, 32, 40), (105, 112, 124)
OUTLINE = (255, 64, 129)
OUTLIER = (150, 155, 165)
"""A neutral grey that is visible, but faint, on dark and on bright images."""

# Brightness increases evenly along the colour map, so that it can be read without colour vision.
_ANCHORS = np.array(
    [
        (0, 0, 4),
        (40, 11, 84),
        (101, 21, 110),
        (159, 42, 99),
        (212, 72, 66),
        (245, 125, 21),
        (250, 193, 39),
        (252, 255, 164),
    ]
)
"""From 0 to 1: nearly black, violet, red, orange, pale yellow."""


def colour_map(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Map values to colours.

    Args:
        values: Any shape; clipped to [0, 1].

    Returns:
        ``(*values.shape, 3)`` uint8.
    """
    positions = np.clip(values, 0, 1) * (len(_ANCHORS) - 1)
    channels = [np.interp(positions, np.arange(len(_ANCHORS)), _ANCHORS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def match_colour(point: Point, size: Size) -> tuple[int, int, int]:
    """Colour of a match by its position in the query: neighbouring matches get similar colours."""
    hue = 2 * math.pi * (0.85 * point[0] / size[0] + 0.15 * point[1] / size[1])
    shade = 0.5 + 0.5 * np.cos(hue + np.array([0.0, 4.2, 2.1]))
    red, green, blue = (int(60 + 190 * value) for value in shade)
    return red, green, blue
