"""The page: a verdict, rows of panes below it, text that fits."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from imagefinder.core.features import RgbImage
from imagefinder.core.results import Explanation, Point, Size
from imagefinder.images.drawing.colours import INK, PAGE, SOFT

SMOOTH = 2
"""Everything is drawn so many times as large and reduced, as Pillow's lines have no smooth edges."""

_HEIGHT, _MOST_WIDTH, _LEAST_WIDTH = 560, 900, 400
"""Room for one picture; narrow ones still need room for the captions above them."""

_GAP, _MARGIN, _LARGE, _SMALL = 28, 20, 18, 14
_TITLE, _NOTE, _BELOW = 26, 20, 6
"""Heights of lines of text, and the space below them."""


_DECISIONS: dict[str, str] = {"match": "match", "possible": "possible match", "none": "no match"}


@dataclass(frozen=True, slots=True)
class Pane:
    """One picture of a row.

    Attributes:
        picture: As large as it is shown, times ``SMOOTH``.
        title: Above it.
        notes: Lines between title and picture.
    """

    picture: Image.Image
    title: str
    notes: tuple[str, ...] = ()


def scale(size: Size | tuple[float, float]) -> float:
    """By how much something of that size is enlarged to be shown."""
    return SMOOTH * min(_HEIGHT / size[1], _MOST_WIDTH / size[0])


def scaled(pixels: RgbImage, size: Size) -> Image.Image:
    """A picture, or a thumbnail of it, as large as a picture of that size is shown."""
    factor = scale(size)
    shown = max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
    return Image.fromarray(pixels).resize(shown, Image.Resampling.LANCZOS, reducing_gap=3.0)


def at(point: Point, factor: float, corner: Point = (0, 0)) -> Point:
    """Where a place of a picture lies that is shown with its upper left corner somewhere."""
    return corner[0] + (point[0] + 0.5) * factor, corner[1] + (point[1] + 0.5) * factor


def row(panes: Sequence[Pane]) -> tuple[Image.Image, list[Size]]:
    """Panes beside each other; with the upper left corner of each picture."""
    boxes = [max(pane.picture.width, _LEAST_WIDTH * SMOOTH) for pane in panes]
    caption = SMOOTH * (_TITLE + _NOTE * max(len(pane.notes) for pane in panes) + _BELOW)
    size = sum(boxes) + _GAP * SMOOTH * (len(panes) - 1), caption + max(pane.picture.height for pane in panes)
    image = Image.new("RGB", size, PAGE)
    draw = ImageDraw.Draw(image)
    corners, x = [], 0
    for pane, box in zip(panes, boxes, strict=True):
        _text(draw, (x, 0), pane.title, box, large=True)
        for number, note in enumerate(pane.notes):
            _text(draw, (x, SMOOTH * (_TITLE + _NOTE * number)), note, box)
        image.paste(pane.picture, (x, caption))
        corners.append((x, caption))
        x += box + _GAP * SMOOTH
    return image, corners


def sheet(explanation: Explanation, rows: Sequence[Image.Image]) -> bytes:
    """The finished page, an encoded PNG."""
    lines = verdict(explanation)
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


def verdict(explanation: Explanation) -> list[str]:
    """What is said of the hit, and what was found: one or two lines."""
    words = [_DECISIONS[explanation.decision]] if explanation.decision else []
    words += [explanation.relation] if explanation.relation else []
    if explanation.evalue is not None:
        words.append(f"E-value {explanation.evalue:.2g}")
    return [", ".join(words), _found(explanation)] if words else [_found(explanation)]


def _found(explanation: Explanation) -> str:
    found = explanation.evidence
    if found is None:
        if explanation.matches or not explanation.query_heat:
            return f"no common geometry: {explanation.matches} matches, all of them chance"
        return f"{explanation.heat_of}: cosine {sum(map(sum, explanation.query_heat)):.3f}"
    mirrored = ", mirrored" if found.mirrored else ""
    if not found.inliers:
        return f"one picture lies on the other as it is{mirrored}"
    what = "tokens" if found.found_by == "tokens" else "matches"
    model = "affine map" if found.model == "affine" else found.model
    return f"{found.inliers} of {found.matches} {what} agree on one {model}{mirrored}"


def _text(
    draw: ImageDraw.ImageDraw, place: Point, text: str, width: int, *, large: bool = False, strong: bool = False
) -> None:
    chosen = font(large=large)
    draw.text(place, fitted(text, chosen, width), fill=INK if large or strong else SOFT, font=chosen)


def font(*, large: bool = False) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """What captions are set in."""
    return ImageFont.load_default((_LARGE if large else _SMALL) * SMOOTH)


def fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, its middle left out where it is too long."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    keep = len(text)
    shown = text
    while font.getlength(shown) > width and keep > 2:
        keep -= 1
        shown = f"{text[: (keep + 1) // 2]}…{text[len(text) - keep // 2 :]}"
    return shown
