"""Two pictures side by side with what they share, drawn by Pillow."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from imagefinder.core.features import RgbImage
from imagefinder.core.results import Explanation, Point, Size

_HEIGHT, _MOST_WIDTH = 560, 900
"""Room for one picture."""

_GAP, _CAPTION, _MARGIN = 28, 86, 20
_PAGE, _INK, _SOFT = (250, 250, 252), (28, 32, 40), (105, 112, 124)
_OUTLINE = (255, 64, 129)
_LINES = 120
"""More lines hide the pictures; then a share of them, evenly spread, is drawn."""

_SMOOTH = 2
"""Everything is drawn so many times as large and reduced, as Pillow's lines have no smooth edges."""


def side_by_side(query: RgbImage, candidate: RgbImage, explanation: Explanation) -> bytes:
    """The query left, the candidate right; inliers as lines, each one's frame as an outline in the other.

    Args:
        query: ``(height, width, 3)`` uint8.
        candidate: Likewise; may be a thumbnail, it is scaled to the size the explanation speaks of.
        explanation: What to draw.

    Returns:
        An encoded PNG.
    """
    left_scale, right_scale = _scale(explanation.query_size), _scale(explanation.candidate_size)
    left, right = (
        Image.fromarray(pixels).resize(_scaled(size, scale), Image.Resampling.LANCZOS)
        for pixels, size, scale in (
            (query, explanation.query_size, left_scale),
            (candidate, explanation.candidate_size, right_scale),
        )
    )
    # Narrow pictures still need room for the captions above them.
    boxes = [max(picture.width, 330 * _SMOOTH) for picture in (left, right)]
    gap, caption, margin = (_SMOOTH * length for length in (_GAP, _CAPTION, _MARGIN))
    size = (2 * margin + gap + sum(boxes), caption + max(left.height, right.height) + margin)
    page = Image.new("RGB", size, _PAGE)
    draw = ImageDraw.Draw(page, "RGBA")
    corners = ((margin, caption), (margin + boxes[0] + gap, caption))
    for picture, corner in zip((left, right), corners, strict=True):
        page.paste(picture, corner)
    _captions(draw, corners, boxes, explanation)
    found = explanation.evidence
    if found:
        panes = (
            (left, found.query_outline, left_scale, corners[0]),
            (right, found.candidate_outline, right_scale, corners[1]),
        )
        for picture, outline, scale, corner in panes:
            _frame(page, picture, [_at(point, scale, (0, 0)) for point in outline], corner)
    shown = explanation.inliers[:: math.ceil(len(explanation.inliers) / _LINES) or 1]
    width = _SMOOTH * (1 if len(shown) > 40 else 2)
    for here, there in shown:
        colour = _colour(here, explanation.query_size)
        a, b = _at(here, left_scale, corners[0]), _at(there, right_scale, corners[1])
        draw.line((a, b), fill=(*colour, 190), width=width)
        for x, y in (a, b):
            r = 2.6 * _SMOOTH
            draw.ellipse((x - r, y - r, x + r, y + r), fill=(*colour, 255), outline=(255, 255, 255, 220))
    buffer = io.BytesIO()
    page.resize((size[0] // _SMOOTH, size[1] // _SMOOTH), Image.Resampling.BOX).save(buffer, "PNG")
    return buffer.getvalue()


def _captions(
    draw: ImageDraw.ImageDraw, corners: Sequence[Size], boxes: Sequence[int], explanation: Explanation
) -> None:
    found = explanation.evidence
    if found is None:
        verdict, share = "no common geometry", (f"{explanation.matches} matches, all of them chance", "")
    else:
        mirrored = ", mirrored" if found.mirrored else ""
        verdict = f"{found.inliers} of {found.matches} matches agree on one {found.model}{mirrored}"
        share = (
            f"{found.query_overlap:.0%} of this picture is in the other",
            f"{found.candidate_overlap:.0%} of this picture is in the other",
        )
    texts = (("query", share[0], verdict), (explanation.id, share[1], ""))
    large, small = (ImageFont.load_default(size * _SMOOTH) for size in (18, 14))
    lines = ((76, large, _INK), (48, small, _SOFT), (26, small, _INK))
    for (x, y), box, words in zip(corners, boxes, texts, strict=True):
        for (above, font, colour), text in zip(lines, words, strict=True):
            draw.text((x, y - above * _SMOOTH), _fitted(text, font, box), fill=colour, font=font)


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, its middle left out where it is too long."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    keep = len(text)
    shown = text
    while font.getlength(shown) > width and keep > 2:
        keep -= 1
        shown = f"{text[: (keep + 1) // 2]}…{text[len(text) - keep // 2 :]}"
    return shown


def _frame(page: Image.Image, picture: Image.Image, outline: Sequence[Point], corner: Size) -> None:
    """The outline within the picture; what lies outside the outline is dimmed a little."""
    veil = Image.new("L", picture.size, 90)
    ImageDraw.Draw(veil).polygon(outline, fill=0)
    dimmed = Image.composite(Image.new("RGB", picture.size, _PAGE), picture, veil)
    # An outline that runs along the edge of the picture is half cut off: draw it thick enough to be seen.
    ImageDraw.Draw(dimmed).line((*outline, outline[0]), fill=_OUTLINE, width=4 * _SMOOTH, joint="curve")
    page.paste(dimmed, corner)


def _scale(size: Size) -> float:
    return _SMOOTH * min(_HEIGHT / size[1], _MOST_WIDTH / size[0])


def _scaled(size: Size, scale: float) -> Size:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _at(point: Point, scale: float, corner: Size) -> Point:
    return corner[0] + (point[0] + 0.5) * scale, corner[1] + (point[1] + 0.5) * scale


def _colour(place: Point, size: Size) -> tuple[int, int, int]:
    """By the place in the query, so that neighbouring lines have like colours and a twist is seen."""
    hue = 2 * math.pi * (0.85 * place[0] / size[0] + 0.15 * place[1] / size[1])
    shade = 0.5 + 0.5 * np.cos(hue + np.array([0.0, 4.2, 2.1]))
    red, green, blue = (int(60 + 190 * value) for value in shade)
    return red, green, blue
