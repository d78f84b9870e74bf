"""Two pictures side by side, joined by their matches, each one's frame drawn in the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from PIL import Image, ImageDraw

from imagefinder.core.features import RgbImage
from imagefinder.core.results import Explanation, Point, Size
from imagefinder.images.drawing import page
from imagefinder.images.drawing.colours import OTHERS, OUTLINE, PAGE, of_place

_LINES = 120
"""More lines hide the pictures; then a share of them, evenly spread, is drawn."""

_OTHERS = 60
"""Likewise for matches that nothing explains."""

_T = TypeVar("_T")


def row(query: RgbImage, candidate: RgbImage, explanation: Explanation) -> Image.Image:
    """The query left, the candidate right; inliers as lines, outliers faintly; tokens with their cells."""
    found = explanation.evidence
    left, right = page.scaled(query, explanation.query_size), page.scaled(candidate, explanation.candidate_size)
    notes: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    if found:
        notes = (
            (f"{found.query_overlap:.0%} of this picture is in the other",),
            (f"{found.candidate_overlap:.0%} of this picture is in the other",),
        )
    image, corners = page.row([page.Pane(left, "query", notes[0]), page.Pane(right, explanation.id, notes[1])])
    scales = page.scale(explanation.query_size), page.scale(explanation.candidate_size)
    if found:
        outlines = found.query_outline, found.candidate_outline
        for picture, outline, scale, corner in zip((left, right), outlines, scales, corners, strict=True):
            _frame(image, picture, [page.at(point, scale) for point in outline], corner)
    draw = ImageDraw.Draw(image, "RGBA")
    shown = _some(explanation.inliers, _LINES)
    for here, there in _some(explanation.outliers, _OTHERS):
        ends = page.at(here, scales[0], corners[0]), page.at(there, scales[1], corners[1])
        draw.line(ends, fill=(*OTHERS, 90 if shown else 150), width=page.SMOOTH)
    width = page.SMOOTH * (1 if len(shown) > 40 else 2)
    for here, there in shown:
        colour = of_place(here, explanation.query_size)
        ends = page.at(here, scales[0], corners[0]), page.at(there, scales[1], corners[1])
        draw.line(ends, fill=(*colour, 190), width=width)
        for place, cell, scale in zip(
            ends, (explanation.query_cell, explanation.candidate_cell), scales, strict=True
        ):
            _mark(draw, place, cell, scale, colour)
    return image


def _mark(
    draw: ImageDraw.ImageDraw, place: Point, cell: tuple[float, float], scale: float, colour: tuple[int, int, int]
) -> None:
    """A dot, or the cell that a token stands for."""
    x, y = place
    if any(cell):
        across, down = (max(page.SMOOTH, 0.47 * length * scale) for length in cell)
        box = (x - across, y - down, x + across, y + down)
        draw.rectangle(box, fill=(*colour, 45), outline=(*colour, 255), width=2 * page.SMOOTH)
        return
    r = 2.6 * page.SMOOTH
    draw.ellipse((x - r, y - r, x + r, y + r), fill=(*colour, 255), outline=(255, 255, 255, 220))


def _some(pairs: Sequence[_T], most: int) -> Sequence[_T]:
    return pairs[:: math.ceil(len(pairs) / most) or 1]


def _frame(page_: Image.Image, picture: Image.Image, outline: Sequence[Point], corner: Size) -> None:
    """The outline within the picture; what lies outside the outline is dimmed a little."""
    veil = Image.new("L", picture.size, 90)
    ImageDraw.Draw(veil).polygon(outline, fill=0)
    dimmed = Image.composite(Image.new("RGB", picture.size, PAGE), picture, veil)
    # An outline that runs along the edge of the picture is half cut off: draw it thick enough to be seen.
    ImageDraw.Draw(dimmed).line((*outline, outline[0]), fill=OUTLINE, width=4 * page.SMOOTH, joint="curve")
    page_.paste(dimmed, corner)
