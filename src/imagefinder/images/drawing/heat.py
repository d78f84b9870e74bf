"""Which parts of two pictures contribute to the cosine of their pooled vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from imagefinder.core.features import RgbImage
from imagefinder.core.results import Box, Explanation, Size
from imagefinder.images.drawing import page
from imagefinder.images.drawing.colours import INK, PAGE, ordered
from imagefinder.images.drawing.page import SMOOTH

_OPACITY = 0.6
_BAR = 260, 14
"""The legend: length and height."""


def row(query: RgbImage, candidate: RgbImage, explanation: Explanation) -> Image.Image:
    """Both pictures under what their cells contribute, in one scale for both, with a legend below."""
    here, there = np.array(explanation.query_heat), np.array(explanation.candidate_heat)
    ends = min(0.0, here.min(), there.min(initial=0)), max(here.max(), there.max(initial=0))
    left, right = page.scaled(query, explanation.query_size), page.scaled(candidate, explanation.candidate_size)
    source = " (of its thumbnail)" if explanation.candidate_from == "thumbnail" else ""
    words = _sum(there) + source if there.size else "there is no picture to look at"
    panes = [
        page.Pane(
            _heated(left, here, _shown(explanation.query_seen, left, explanation.query_size), ends),
            "query",
            (_sum(here),),
        ),
        page.Pane(
            _heated(right, there, _shown(explanation.candidate_seen, right, explanation.candidate_size), ends),
            explanation.id,
            (words,),
        ),
    ]
    return _with_legend(page.row(panes)[0], ends, explanation.heat_of)


def _sum(heat: NDArray[np.float64]) -> str:
    rows, columns = heat.shape
    return f"{rows} x {columns} cells contribute {heat.min():.4f} to {heat.max():.4f}, in sum {heat.sum():.3f}"


def _shown(seen: Box, picture: Image.Image, size: Size) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a part of a picture as it is shown; never empty."""
    across, down = picture.width / size[0], picture.height / size[1]
    x, y, width, height = seen
    left, top = min(round(x * across), picture.width - 1), min(round(y * down), picture.height - 1)
    right, bottom = (
        min(round((x + width) * across), picture.width),
        min(round((y + height) * down), picture.height),
    )
    return left, top, max(left + 1, right), max(top + 1, bottom)


def _heated(
    picture: Image.Image, heat: NDArray[np.float64], box: tuple[int, int, int, int], ends: tuple[float, float]
) -> Image.Image:
    """The picture in grey under the colours of the heat; what the network did not see is veiled."""
    shown = Image.blend(picture, Image.new("RGB", picture.size, PAGE), 0.6)
    if not heat.size:
        return shown
    grey = picture.crop(box).convert("L").convert("RGB")
    values = Image.fromarray(heat.astype(np.float32)).resize(grey.size, Image.Resampling.BILINEAR)
    low, high = ends
    colours = Image.fromarray(ordered((np.asarray(values) - low) / max(high - low, 1e-12)))
    shown.paste(Image.blend(grey, colours, _OPACITY), box[:2])
    return shown


def _with_legend(image: Image.Image, ends: tuple[float, float], network: str) -> Image.Image:
    length, height = (SMOOTH * side for side in _BAR)
    space = 14 * SMOOTH
    whole = Image.new("RGB", (image.width, image.height + 2 * space + height), PAGE)
    whole.paste(image, (0, 0))
    values = np.broadcast_to(np.linspace(0, 1, length), (height, length))
    y = image.height + space
    text = ImageDraw.Draw(whole)
    font = page.font()
    start = f"{ends[0]:.4f}"
    text.text((0, y - 2 * SMOOTH), start, fill=INK, font=font)
    x = round(font.getlength(start)) + 8 * SMOOTH
    whole.paste(Image.fromarray(ordered(values)), (x, y))
    x += length + 8 * SMOOTH
    words = f"{ends[1]:.4f} of a cell; all cells of a picture add up to the cosine of {network}"
    text.text((x, y - 2 * SMOOTH), page.fitted(words, font, whole.width - x), fill=INK, font=font)
    return whole
