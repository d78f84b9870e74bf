"""Draw the query warped onto the candidate by the estimated transform, and the difference of both."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from imagefinder.core.features import RgbImage
from imagefinder.core.results import Box, Evidence, Explanation, Outline, Point, Size
from imagefinder.images.drawing import page
from imagefinder.images.drawing.colours import PAGE, colour_map

_MARGIN = 0.06
"""Margin shown around the query's outline, as a fraction of its longer side."""

_MAX_ENLARGEMENT = 8.0
"""Largest magnification of the candidate; more shows only blurred pixels."""

_MAX_DIFFERENCE = 100
"""Difference in grey levels (of 255) that is drawn as the brightest colour."""

_MIN_PIXELS = 64
"""Smallest overlap that is drawn, in pixels of the page."""


def row(query: RgbImage, candidate: RgbImage, explanation: Explanation, found: Evidence) -> Image.Image | None:
    """Draw a blend of both images and their difference; ``None`` if they hardly overlap.

    Args:
        query: ``(height, width, 3)`` uint8.
        candidate: ``(height, width, 3)`` uint8: the image or its thumbnail.
        explanation: Contains the image sizes that the transform refers to.
        found: Evidence with the transform from query to candidate.
    """
    size = explanation.candidate_size
    part = _visible_part(found.candidate_outline, size)
    if part is None:
        return None
    factor = min(page.scale(part[2:]), _MAX_ENLARGEMENT * page.SMOOTH)
    below = _cut(candidate, size, part, factor)
    # From candidate coordinates to coordinates in the visible part, counted from its upper left corner.
    view = np.array([[factor, 0, (0.5 - part[0]) * factor], [0, factor, (0.5 - part[1]) * factor], [0, 0, 1]])
    outline = [(x, y) for x, y, _ in (_with_ones(found.candidate_outline) @ view.T).tolist()]
    above, mask = _warped(query, explanation.query_size, view @ np.array(found.transform), outline, below.size)
    covered = np.asarray(mask) > 0
    if np.count_nonzero(covered) < _MIN_PIXELS * page.SMOOTH**2:
        return None
    blend = page.Pane(_blend(below, above, mask), "overlay", ("query and image, half each",))
    note = ("dark: identical; bright: different (after adjusting brightness and contrast)",)
    return page.row([blend, page.Pane(_difference(below, above, covered), "difference", note)])[0]


def _visible_part(outline: Outline, size: Size) -> Box | None:
    """The part of the candidate to show: x, y, width and height, counted from its upper left corner."""
    points = np.array(outline) + 0.5
    margin = _MARGIN * float(np.ptp(points, axis=0).max())
    left, top = np.clip(points.min(axis=0) - margin, 0, size).tolist()
    right, bottom = np.clip(points.max(axis=0) + margin, 0, size).tolist()
    return (left, top, right - left, bottom - top) if min(right - left, bottom - top) >= 1 else None


def _cut(candidate: RgbImage, size: Size, part: Box, factor: float) -> Image.Image:
    """Crop a part of the candidate and scale it by ``factor``."""
    across, down = candidate.shape[1] / size[0], candidate.shape[0] / size[1]
    x, y, width, height = part
    box = (x * across, y * down, (x + width) * across, (y + height) * down)
    shown = max(1, round(width * factor)), max(1, round(height * factor))
    return Image.fromarray(candidate).resize(shown, Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)


def _warped(
    query: RgbImage, size: Size, matrix: NDArray[np.float64], outline: Sequence[Point], shown: Size
) -> tuple[Image.Image, Image.Image]:
    """Warp the query by a matrix onto a canvas of the size ``shown``; returns it and a mask of its area."""
    # Pillow's transform does not antialias: reduce the query first if it becomes smaller.
    (x, y), pixels = np.array(outline).T, math.prod(size)
    area = abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
    reduction = min(1.0, math.sqrt(area / pixels))
    reduced = max(1, round(size[0] * reduction)), max(1, round(size[1] * reduction))
    small = Image.fromarray(query).resize(reduced, Image.Resampling.LANCZOS, reducing_gap=3.0)
    across, down = small.width / size[0], small.height / size[1]
    to_small = np.array([[across, 0, 0.5 * across], [0, down, 0.5 * down], [0, 0, 1]])
    back = to_small @ np.linalg.inv(matrix)
    coefficients = tuple((back / back[2, 2]).ravel()[:8].tolist())
    warped = small.transform(shown, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC)
    inside = Image.new("L", small.size, 255).transform(shown, Image.Transform.PERSPECTIVE, coefficients)
    # A homography also maps points behind the camera into the canvas: the outline masks them.
    mask = Image.new("L", shown)
    ImageDraw.Draw(mask).polygon(outline, fill=255)
    return warped, Image.fromarray(np.minimum(np.asarray(mask), np.asarray(inside)))


def _with_ones(outline: Outline) -> NDArray[np.float64]:
    return np.column_stack([np.array(outline), np.ones(len(outline))])


def _blend(below: Image.Image, above: Image.Image, mask: Image.Image) -> Image.Image:
    veiled = Image.blend(below, Image.new("RGB", below.size, PAGE), 0.45)
    return Image.composite(Image.blend(below, above, 0.5), veiled, mask)


def _difference(below: Image.Image, above: Image.Image, covered: NDArray[np.bool_]) -> Image.Image:
    """Draw the difference in the overlap, after matching brightness and contrast of each channel."""
    lower, upper = (np.asarray(side, dtype=np.float32)[covered] for side in (below, above))
    difference = np.zeros(len(upper), dtype=np.float32)
    for _ in range(3):
        # Fit on the most similar half: text over a copy must not make the rest look different.
        similar = difference <= np.median(difference)
        a, b = upper[similar], lower[similar]
        contrast = np.clip(b.std(axis=0) / np.maximum(a.std(axis=0), 1.0), 0.5, 2.0)
        difference = np.abs((upper - a.mean(axis=0)) * contrast + b.mean(axis=0) - lower).mean(axis=1)
    shown = np.full((*covered.shape, 3), PAGE, dtype=np.uint8)
    shown[covered] = colour_map(difference / _MAX_DIFFERENCE)
    return Image.fromarray(shown)
