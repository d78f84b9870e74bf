"""The query laid on the candidate by the transform that was found: do they coincide?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from imagefinder.core.features import RgbImage
from imagefinder.core.results import Box, Evidence, Explanation, Outline, Point, Size
from imagefinder.images.drawing import page
from imagefinder.images.drawing.colours import PAGE, ordered

_MARGIN = 0.06
"""What is shown around the place where the query lies, as a part of its longer side."""

_LARGEST = 8.0
"""The candidate is enlarged no more than so many times: beyond it there is nothing to see."""

_BRIGHT = 100
"""Levels of 255 that count as wholly different."""

_FEWEST = 64
"""Pixels of the page that both must cover."""


def row(query: RgbImage, candidate: RgbImage, explanation: Explanation, found: Evidence) -> Image.Image | None:
    """Both mixed, and what differs; ``None`` where they hardly touch.

    Args:
        query: ``(height, width, 3)`` uint8.
        candidate: Likewise, or its thumbnail.
        explanation: Says which sizes the transform speaks of.
        found: How one lies on the other.
    """
    size = explanation.candidate_size
    part = _part(found.candidate_outline, size)
    if part is None:
        return None
    factor = min(page.scale(part[2:]), _LARGEST * page.SMOOTH)
    below = _cut(candidate, size, part, factor)
    # From places in the candidate to places on what is shown of it, counted from its upper left corner.
    view = np.array([[factor, 0, (0.5 - part[0]) * factor], [0, factor, (0.5 - part[1]) * factor], [0, 0, 1]])
    outline = [(x, y) for x, y, _ in (_with_ones(found.candidate_outline) @ view.T).tolist()]
    above, mask = _laid(query, explanation.query_size, view @ np.array(found.transform), outline, below.size)
    covered = np.asarray(mask) > 0
    if np.count_nonzero(covered) < _FEWEST * page.SMOOTH**2:
        return None
    mixed = page.Pane(_mixed(below, above, mask), "query laid on it", ("both mixed, half and half",))
    differs = ("dark: the same; bright: different (brightness and contrast adapted)",)
    return page.row([mixed, page.Pane(_difference(below, above, covered), "what differs", differs)])[0]


def _part(outline: Outline, size: Size) -> Box | None:
    """The part of the candidate to show: x, y, width and height, counted from its upper left corner."""
    places = np.array(outline) + 0.5
    margin = _MARGIN * float(np.ptp(places, axis=0).max())
    left, top = np.clip(places.min(axis=0) - margin, 0, size).tolist()
    right, bottom = np.clip(places.max(axis=0) + margin, 0, size).tolist()
    return (left, top, right - left, bottom - top) if min(right - left, bottom - top) >= 1 else None


def _cut(candidate: RgbImage, size: Size, part: Box, factor: float) -> Image.Image:
    """That part of the candidate, as large as it is shown."""
    across, down = candidate.shape[1] / size[0], candidate.shape[0] / size[1]
    x, y, width, height = part
    box = (x * across, y * down, (x + width) * across, (y + height) * down)
    shown = max(1, round(width * factor)), max(1, round(height * factor))
    return Image.fromarray(candidate).resize(shown, Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)


def _laid(
    query: RgbImage, size: Size, matrix: NDArray[np.float64], outline: Sequence[Point], shown: Size
) -> tuple[Image.Image, Image.Image]:
    """The query as the matrix lays it on something of the size ``shown``, and a mask of where it lies."""
    # Pillow samples single pixels: what becomes smaller is reduced first.
    (x, y), pixels = np.array(outline).T, math.prod(size)
    area = abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
    reduction = min(1.0, math.sqrt(area / pixels))
    reduced = max(1, round(size[0] * reduction)), max(1, round(size[1] * reduction))
    small = Image.fromarray(query).resize(reduced, Image.Resampling.LANCZOS, reducing_gap=3.0)
    across, down = small.width / size[0], small.height / size[1]
    to_small = np.array([[across, 0, 0.5 * across], [0, down, 0.5 * down], [0, 0, 1]])
    back = to_small @ np.linalg.inv(matrix)
    coefficients = tuple((back / back[2, 2]).ravel()[:8].tolist())
    laid = small.transform(shown, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC)
    inside = Image.new("L", small.size, 255).transform(shown, Image.Transform.PERSPECTIVE, coefficients)
    # A homography shows things behind the camera a second time: the outline leaves them out.
    mask = Image.new("L", shown)
    ImageDraw.Draw(mask).polygon(outline, fill=255)
    return laid, Image.fromarray(np.minimum(np.asarray(mask), np.asarray(inside)))


def _with_ones(outline: Outline) -> NDArray[np.float64]:
    return np.column_stack([np.array(outline), np.ones(len(outline))])


def _mixed(below: Image.Image, above: Image.Image, mask: Image.Image) -> Image.Image:
    veiled = Image.blend(below, Image.new("RGB", below.size, PAGE), 0.45)
    return Image.composite(Image.blend(below, above, 0.5), veiled, mask)


def _difference(below: Image.Image, above: Image.Image, covered: NDArray[np.bool_]) -> Image.Image:
    """Where both lie, how much they differ once brightness and contrast of each colour are the same."""
    theirs, ours = (np.asarray(side, dtype=np.float32)[covered] for side in (below, above))
    off = np.zeros(len(ours), dtype=np.float32)
    for _ in range(3):
        # Only what differs least: text laid over a copy must not make all of the rest look different.
        alike = off <= np.median(off)
        a, b = ours[alike], theirs[alike]
        contrast = np.clip(b.std(axis=0) / np.maximum(a.std(axis=0), 1.0), 0.5, 2.0)
        off = np.abs((ours - a.mean(axis=0)) * contrast + b.mean(axis=0) - theirs).mean(axis=1)
    shown = np.full((*covered.shape, 3), PAGE, dtype=np.uint8)
    shown[covered] = ordered(off / _BRIGHT)
    return Image.fromarray(shown)
