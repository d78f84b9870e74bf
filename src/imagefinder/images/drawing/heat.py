"""Draw heat maps: how much each cell of two images contributes to the cosine of their pooled vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from imagefinder.core.features import RgbImage
from imagefinder.core.results import Box, Explanation, Size
from imagefinder.images.drawing import page
from imagefinder.images.drawing.colours import INK, PAGE, colour_map
from imagefinder.images.drawing.page import SMOOTH

_OPACITY = 0.6
_BAR = 260, 14
"""Length and height of the colour bar in the legend."""


def row(query: RgbImage, candidate: RgbImage, explanation: Explanation) -> Image.Image:
    """Draw the heat maps of both images in one colour scale, with a legend below."""
    query_heat, candidate_heat = np.array(explanation.query_heat), np.array(explanation.candidate_heat)
    limits = (
        min(0.0, query_heat.min(), candidate_heat.min(initial=0)),
        max(query_heat.max(), candidate_heat.max(initial=0)),
    )
    left, right = page.scaled(query, explanation.query_size), page.scaled(candidate, explanation.candidate_size)
    source = " (from the thumbnail)" if explanation.candidate_from == "thumbnail" else ""
    note = _summary(candidate_heat) + source if candidate_heat.size else "image not available"
    query_box = _pixel_box(explanation.query_seen, left, explanation.query_size)
    candidate_box = _pixel_box(explanation.candidate_seen, right, explanation.candidate_size)
    panes = [
        page.Pane(_heat_map(left, query_heat, query_box, limits), "query", (_summary(query_heat),)),
        page.Pane(_heat_map(right, candidate_heat, candidate_box, limits), explanation.id, (note,)),
    ]
    return _with_legend(page.row(panes)[0], limits, explanation.heat_of)


def _summary(heat: NDArray[np.float64]) -> str:
    rows, columns = heat.shape
    return f"{rows} x {columns} cells, each {heat.min():.4f} to {heat.max():.4f}, sum {heat.sum():.3f}"


def _pixel_box(box: Box, shown: Image.Image, size: Size) -> tuple[int, int, int, int]:
    """Convert a box of an image of that size to left, top, right and bottom in its scaled copy; never empty."""
    across, down = shown.width / size[0], shown.height / size[1]
    x, y, width, height = box
    left, top = min(round(x * across), shown.width - 1), min(round(y * down), shown.height - 1)
    right, bottom = (
        min(round((x + width) * across), shown.width),
        min(round((y + height) * down), shown.height),
    )
    return left, top, max(left + 1, right), max(top + 1, bottom)


def _heat_map(
    image: Image.Image, heat: NDArray[np.float64], box: tuple[int, int, int, int], limits: tuple[float, float]
) -> Image.Image:
    """Draw the heat over a grey copy of the image; the part outside the network's input is faded."""
    shown = Image.blend(image, Image.new("RGB", image.size, PAGE), 0.6)
    if not heat.size:
        return shown
    grey = image.crop(box).convert("L").convert("RGB")
    values = Image.fromarray(heat.astype(np.float32)).resize(grey.size, Image.Resampling.BILINEAR)
    low, high = limits
    colours = Image.fromarray(colour_map((np.asarray(values) - low) / max(high - low, 1e-12)))
    shown.paste(Image.blend(grey, colours, _OPACITY), box[:2])
    return shown


def _with_legend(image: Image.Image, limits: tuple[float, float], network: str) -> Image.Image:
    length, height = (SMOOTH * side for side in _BAR)
    space = 14 * SMOOTH
    whole = Image.new("RGB", (image.width, image.height + 2 * space + height), PAGE)
    whole.paste(image, (0, 0))
    values = np.broadcast_to(np.linspace(0, 1, length), (height, length))
    y = image.height + space
    text = ImageDraw.Draw(whole)
    font = page.font()
    start = f"{limits[0]:.4f}"
    text.text((0, y - 2 * SMOOTH), start, fill=INK, font=font)
    x = round(font.getlength(start)) + 8 * SMOOTH
    whole.paste(Image.fromarray(colour_map(values)), (x, y))
    x += length + 8 * SMOOTH
    note = f"{limits[1]:.4f} per cell; the cells of an image add up to the {network} cosine"
    text.text((x, y - 2 * SMOOTH), page.fitted(note, font, whole.width - x), fill=INK, font=font)
    return whole
