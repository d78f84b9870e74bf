"""Draw two images side by side with their matches, and the outline of each in the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from PIL import Image, ImageDraw

from imagefinder.core.features import RgbImage
from imagefinder.core.results import Explanation, Point, Size
from imagefinder.images.drawing import page
from imagefinder.images.drawing.colours import OUTLIER, OUTLINE, PAGE, match_colour

_INLIERS = 120
"""Largest number of inliers drawn, as more lines would hide the images; evenly sampled."""

_OUTLIERS = 60
"""Largest number of outliers drawn."""

_T = TypeVar("_T")


def row(query: RgbImage, candidate: RgbImage, explanation: Explanation) -> Image.Image:
    """Draw the query left and the candidate right: inliers as lines, outliers faintly, tokens as cells."""
    found = explanation.evidence
    left, right = page.scaled(query, explanation.query_size), page.scaled(candidate, explanation.candidate_size)
    notes: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    if found:
        notes = (
            (f"coverage {found.query_overlap:.0%}",),
            (f"coverage {found.candidate_overlap:.0%}",),
        )
    image, corners = page.row([page.Pane(left, "query", notes[0]), page.Pane(right, explanation.id, notes[1])])
    scales = page.scale(explanation.query_size), page.scale(explanation.candidate_size)
    if found:
        outlines = found.query_outline, found.candidate_outline
        for shown_image, outline, scale, corner in zip((left, right), outlines, scales, corners, strict=True):
            _draw_outline(image, shown_image, [page.at(point, scale) for point in outline], corner)
    draw = ImageDraw.Draw(image, "RGBA")
    shown = _sample(explanation.inliers, _INLIERS)
    for here, there in _sample(explanation.outliers, _OUTLIERS):
        ends = page.at(here, scales[0], corners[0]), page.at(there, scales[1], corners[1])
        draw.line(ends, fill=(*OUTLIER, 90 if shown else 150), width=page.SMOOTH)
    width = page.SMOOTH * (1 if len(shown) > 40 else 2)
    for here, there in shown:
        colour = match_colour(here, explanation.query_size)
        ends = page.at(here, scales[0], corners[0]), page.at(there, scales[1], corners[1])
        draw.line(ends, fill=(*colour, 190), width=width)
        for point, cell, scale in zip(
            ends, (explanation.query_cell, explanation.candidate_cell), scales, strict=True
        ):
            _mark(draw, point, cell, scale, colour)
    return image


def _mark(
    draw: ImageDraw.ImageDraw, point: Point, cell: tuple[float, float], scale: float, colour: tuple[int, int, int]
) -> None:
    """Draw a keypoint as a dot, or a token as its cell."""
    x, y = point
    if any(cell):
        across, down = (max(page.SMOOTH, 0.47 * length * scale) for length in cell)
        box = (x - across, y - down, x + across, y + down)
        draw.rectangle(box, fill=(*colour, 45), outline=(*colour, 255), width=2 * page.SMOOTH)
        return
    r = 2.6 * page.SMOOTH
    draw.ellipse((x - r, y - r, x + r, y + r), fill=(*colour, 255), outline=(255, 255, 255, 220))


def _sample(pairs: Sequence[_T], most: int) -> Sequence[_T]:
    return pairs[:: math.ceil(len(pairs) / most) or 1]


def _draw_outline(page_: Image.Image, shown: Image.Image, outline: Sequence[Point], corner: Size) -> None:
    """Draw an outline in an image, with the area outside slightly faded."""
    veil = Image.new("L", shown.size, 90)
    ImageDraw.Draw(veil).polygon(outline, fill=0)
    dimmed = Image.composite(Image.new("RGB", shown.size, PAGE), shown, veil)
    # Half of an outline along the image border is cut off: the line must be thick enough to remain visible.
    ImageDraw.Draw(dimmed).line((*outline, outline[0]), fill=OUTLINE, width=4 * page.SMOOTH, joint="curve")
    page_.paste(dimmed, corner)
