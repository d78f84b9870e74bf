"""Lay out the page of an explanation: the decision, then rows of panes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from imagefinder.core.features import RgbImage
from imagefinder.core.results import Explanation, Point, Size
from imagefinder.core.text import hedged
from imagefinder.images.drawing.colours import INK, PAGE, SOFT

SMOOTH = 2
"""Supersampling factor: Pillow draws lines without antialiasing, so the page is drawn larger and reduced."""

_HEIGHT, _MAX_WIDTH, _MIN_WIDTH = 560, 900, 400
"""Limits of one pane; the smallest width leaves enough space for the captions of narrow images."""

_GAP, _MARGIN, _LARGE, _SMALL = 28, 20, 18, 14
_TITLE, _NOTE, _BELOW = 26, 20, 6
"""Line heights of titles and notes, and the space below them."""


_DECISIONS: dict[str, str] = {"match": "match", "possible": "possible match", "none": "no match"}


@dataclass(frozen=True, slots=True)
class Pane:
    """An image with its captions.

    Attributes:
        image: Scaled to its size on the page times ``SMOOTH``.
        title: Heading above the image.
        notes: Lines between title and image.
    """

    image: Image.Image
    title: str
    notes: tuple[str, ...] = ()


def scale(size: Size | tuple[float, float]) -> float:
    """Scale factor that fits an image of that size into a pane."""
    return SMOOTH * min(_HEIGHT / size[1], _MAX_WIDTH / size[0])


def scaled(pixels: RgbImage, size: Size) -> Image.Image:
    """Scale an image, or its thumbnail, to the pane size of an image of that size."""
    factor = scale(size)
    shown = max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
    return Image.fromarray(pixels).resize(shown, Image.Resampling.LANCZOS, reducing_gap=3.0)


def at(point: Point, factor: float, corner: Point = (0, 0)) -> Point:
    """Convert image coordinates to page coordinates, for an image drawn at ``corner`` with a scale factor."""
    return corner[0] + (point[0] + 0.5) * factor, corner[1] + (point[1] + 0.5) * factor


def row(panes: Sequence[Pane]) -> tuple[Image.Image, list[Size]]:
    """Draw panes side by side; returns the row and the upper left corner of each image in it."""
    boxes = [max(pane.image.width, _MIN_WIDTH * SMOOTH) for pane in panes]
    caption = SMOOTH * (_TITLE + _NOTE * max(len(pane.notes) for pane in panes) + _BELOW)
    size = sum(boxes) + _GAP * SMOOTH * (len(panes) - 1), caption + max(pane.image.height for pane in panes)
    image = Image.new("RGB", size, PAGE)
    draw = ImageDraw.Draw(image)
    corners, x = [], 0
    for pane, box in zip(panes, boxes, strict=True):
        _text(draw, (x, 0), pane.title, box, large=True)
        for number, note in enumerate(pane.notes):
            _text(draw, (x, SMOOTH * (_TITLE + _NOTE * number)), note, box)
        image.paste(pane.image, (x, caption))
        corners.append((x, caption))
        x += box + _GAP * SMOOTH
    return image, corners


def sheet(explanation: Explanation, rows: Sequence[Image.Image]) -> bytes:
    """Draw the page; returns an encoded PNG."""
    lines = summary(explanation)
    width, margin, gap = max(image.width for image in rows), _MARGIN * SMOOTH, _GAP * SMOOTH
    header = SMOOTH * (_TITLE + _NOTE * (len(lines) - 1) + 2 * _BELOW)
    height = header + sum(image.height for image in rows) + gap * (len(rows) - 1)
    page = Image.new("RGB", (width + 2 * margin, height + 2 * margin), PAGE)
    draw = ImageDraw.Draw(page)
    y = margin
    for number, line in enumerate(lines):
        _text(draw, (margin, y), line, width, large=number == 0, strong=True)
        y += SMOOTH * (_NOTE if number else _TITLE)
    y = margin + header
    for image in rows:
        page.paste(image, (margin, y))
        y += image.height + gap
    buffer = io.BytesIO()
    page.resize((page.width // SMOOTH, page.height // SMOOTH), Image.Resampling.BOX).save(buffer, "PNG")
    return buffer.getvalue()


def summary(explanation: Explanation) -> list[str]:
    """Decision, relation and E-value, if any, and a line on the evidence: one or two lines."""
    parts = [_DECISIONS[explanation.decision]] if explanation.decision else []
    parts += [hedged(explanation.relation, explanation.decision)] if explanation.relation else []
    if explanation.evalue is not None:
        parts.append(f"E-value {explanation.evalue:.2g}")
    return [", ".join(parts), _evidence(explanation)] if parts else [_evidence(explanation)]


def _evidence(explanation: Explanation) -> str:
    found = explanation.evidence
    if found is None:
        if explanation.matches or not explanation.query_heat:
            return f"no consistent geometry among {explanation.matches} matches"
        return f"{explanation.heat_of}: cosine {sum(map(sum, explanation.query_heat)):.3f}"
    mirrored = ", mirrored" if found.mirrored else ""
    if not found.inliers:
        return f"whole images aligned{mirrored}"
    kind = "tokens" if found.found_by == "tokens" else "matches"
    model = "affine transform" if found.model == "affine" else found.model
    return f"{found.inliers} of {found.matches} {kind} fit one {model}{mirrored}"


def _text(
    draw: ImageDraw.ImageDraw, point: Point, text: str, width: int, *, large: bool = False, strong: bool = False
) -> None:
    chosen = font(large=large)
    draw.text(point, fitted(text, chosen, width), fill=INK if large or strong else SOFT, font=chosen)


def font(*, large: bool = False) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font of captions, or of titles."""
    return ImageFont.load_default((_LARGE if large else _SMALL) * SMOOTH)


def fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Shorten a text in the middle to fit a width, pixels; control characters are replaced."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    keep = len(text)
    shown = text
    while font.getlength(shown) > width and keep > 2:
        keep -= 1
        shown = f"{text[: (keep + 1) // 2]}…{text[len(text) - keep // 2 :]}"
    return shown
