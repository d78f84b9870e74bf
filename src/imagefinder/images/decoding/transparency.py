"""The background that transparent images are composited over, chosen so that the drawing stays visible.

Most drawings are visible on white. A drawing is lost where it is about as bright as the background. This is white
unless more than a tenth of the drawing would be lost on it; then black, or else one of three greys. If more is
lost on each of them, it is the one on which least is lost. An image of which less than 1 % is transparent keeps
white: its drawing is inside, as in a screenshot with round corners.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

BACKGROUNDS = (255, 0, 128, 192, 64)
"""Grey levels, in order of preference."""

_LOST_WITHIN = 48
"""A pixel is lost if its brightness differs from the background by less than this."""

_LOST_SHARE = 0.1
_TRANSPARENT_SHARE = 0.01


def choose_background(strips: Iterable[Image.Image]) -> int:
    """The grey level of the background for an image, given as strips of mode RGBA."""
    by_brightness = np.zeros(256)
    pixels = 0
    for strip in strips:
        brightness = np.asarray(strip.convert("RGB").convert("L")).reshape(-1)
        alpha: np.ndarray[Any, Any] = np.asarray(strip.getchannel("A")).reshape(-1)
        # Whole numbers, so the sum does not depend on the strips.
        by_brightness += np.bincount(brightness, weights=alpha, minlength=256)
        pixels += alpha.size
    visible = float(by_brightness.sum())
    if visible == 0 or visible > (1 - _TRANSPARENT_SHARE) * 255 * pixels:
        return BACKGROUNDS[0]
    levels = np.arange(256)
    lost = [float(by_brightness[abs(levels - level) < _LOST_WITHIN].sum()) / visible for level in BACKGROUNDS]
    kept = [level for level, share in zip(BACKGROUNDS, lost, strict=True) if share <= _LOST_SHARE]
    return kept[0] if kept else BACKGROUNDS[int(np.argmin(lost))]
