"""Colours that mean something."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.results import Point, Size

PAGE, INK, SOFT = (250, 250, 252), (28, 32, 40), (105, 112, 124)
OUTLINE = (255, 64, 129)
OTHERS = (150, 155, 165)
"""Matches that nothing explains: seen faintly, on dark and on bright."""

# Brightness rises evenly from one to the next, so that more always looks like more, also without colours.
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
"""From nothing to most: nearly black, violet, red, orange, pale yellow."""


def ordered(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colours of amounts.

    Args:
        values: Any shape; 0 is nothing, 1 the most, what lies beyond is cut off.

    Returns:
        The shape of ``values`` and 3, uint8.
    """
    places = np.clip(values, 0, 1) * (len(_ANCHORS) - 1)
    channels = [np.interp(places, np.arange(len(_ANCHORS)), _ANCHORS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def of_place(place: Point, size: Size) -> tuple[int, int, int]:
    """By the place in the query, so that neighbouring matches have like colours and a twist is seen."""
    hue = 2 * math.pi * (0.85 * place[0] / size[0] + 0.15 * place[1] / size[1])
    shade = 0.5 + 0.5 * np.cos(hue + np.array([0.0, 4.2, 2.1]))
    red, green, blue = (int(60 + 190 * value) for value in shade)
    return red, green, blue
