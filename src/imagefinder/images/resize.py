"""Pictures to the sizes networks and people want; Pillow resamples, with antialiasing."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagefinder.core.features import RgbImage

Interpolation = Literal["bilinear", "bicubic"]

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_REACH = {"bilinear": 1, "bicubic": 2}
"""Source pixels a filter looks at to either side, times the reduction."""

# Beyond twice this reduction Pillow first averages whole blocks of pixels. Without it the filter weights of a
# picture of one row take 16 bytes per pixel; with it the result changes by less than a grey level.
_BLOCKS_FROM = 64.0


def resize_exact(image: RgbImage, size: int, interpolation: Interpolation) -> RgbImage:
    """The whole picture as ``(size, size, 3)`` uint8, whatever its aspect ratio."""
    resized = Image.fromarray(image).resize((size, size), _FILTERS[interpolation], reducing_gap=_BLOCKS_FROM)
    return np.asarray(resized)


def resize_center_crop(image: RgbImage, side: int, size: int, interpolation: Interpolation) -> RgbImage:
    """Reduce or enlarge so that the shorter side is ``side``, then cut ``size x size`` out of the middle.

    torchvision's ``Resize(side)`` and ``CenterCrop(size)`` on Pillow images within a grey level, but only what
    stays is resampled: one value in a few hundred differs, as Pillow takes the place of a cut in 24 bits; of
    pictures over twice as high as wide more do, as Pillow resamples those the other way first (and overshoots of
    bicubic are clipped in between).

    Args:
        image: ``(height, width, 3)`` uint8.
        side: Pixels of the shorter side, at least ``size``.
        size: Pixels of both sides of the result.
        interpolation: Filter.

    Returns:
        ``(size, size, 3)`` uint8.
    """
    height, width = image.shape[:2]
    shorter = min(height, width)
    rows, columns = int(side * height / shorter), int(side * width / shorter)
    y0, y1 = _part(height, rows, size)
    x0, x1 = _part(width, columns, size)
    top, bottom = _around(y0, y1, height, rows, interpolation)
    left, right = _around(x0, x1, width, columns, interpolation)
    part = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
    box = (x0 - left, y0 - top, x1 - left, y1 - top)
    return np.asarray(part.resize((size, size), _FILTERS[interpolation], box=box))


def center_crop_box(height: int, width: int, side: int, size: int) -> tuple[float, float, float, float]:
    """What ``resize_center_crop`` keeps of a picture: x, y, width and height in its pixels."""
    shorter = min(height, width)
    y0, y1 = _part(height, int(side * height / shorter), size)
    x0, x1 = _part(width, int(side * width / shorter), size)
    return x0, y0, x1 - x0, y1 - y0


def _part(length: int, resized: int, size: int) -> tuple[float, float]:
    """Where the middle ``size`` of ``resized`` pixels lie in the source."""
    start = round((resized - size) / 2)
    return start * length / resized, (start + size) * length / resized


def _around(start: float, end: float, length: int, resized: int, interpolation: Interpolation) -> tuple[int, int]:
    """The whole source pixels that the filter looks at between two places."""
    reach = math.ceil(_REACH[interpolation] * max(1.0, length / resized)) + 1
    return max(0, math.floor(start) - reach), min(length, math.ceil(end) + reach)


def normalise(
    image: RgbImage, mean: Sequence[float], std: Sequence[float], out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """``(value / 255 - mean) / std`` per channel.

    Args:
        image: ``(height, width, 3)`` uint8.
        mean: Per channel, of values in [0, 1].
        std: Likewise.
        out: Where to, instead of a new array.

    Returns:
        ``(3, height, width)`` float32: ``out``, or new and C-contiguous.
    """
    if out is None:
        out = np.empty((3, *image.shape[:2]), dtype=np.float32)
    values = np.arange(256, dtype=np.float32) / 255
    for channel, plane in enumerate(out):
        table = (values - np.float32(mean[channel])) / np.float32(std[channel])
        np.take(table, image[:, :, channel], out=plane, mode="clip")
    return out


def thumbnail(image: RgbImage, side: int = 256, quality: int = 80) -> bytes:
    """A JPEG of the picture, reduced so that no side is longer than ``side``; never enlarged.

    Args:
        image: ``(height, width, 3)`` uint8.
        side: Pixels.
        quality: 1 to 95, as Pillow counts.
    """
    import cv2  # noqa: PLC0415 - asking needs no thumbnails, and the import takes a while

    height, width = image.shape[:2]
    factor = side / max(height, width)
    if factor < 1:
        # Means of areas: several times as fast as Pillow's filters, which convert all pixels first; and what
        # two pictures are compared at (``verification.photometry``) is reduced in the same way.
        size = max(1, round(width * factor)), max(1, round(height * factor))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
