"""Resize images for networks and thumbnails with antialiasing."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagefinder.core.elongated import is_elongated, longer_side
from imagefinder.core.features import RgbImage

Interpolation = Literal["bilinear", "bicubic"]

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_REACH = {"bilinear": 1, "bicubic": 2}
"""Filter support: source pixels to either side, times the reduction factor."""

# Beyond twice this reduction Pillow first averages blocks of pixels. Without it the filter weights for an image of
# one row take 16 bytes per pixel. The result changes by less than a grey level.
_BLOCKS_FROM = 64.0


def resize_exact(image: RgbImage, size: int, interpolation: Interpolation) -> RgbImage:
    """Resize the whole image to ``(size, size, 3)`` uint8, ignoring its aspect ratio."""
    resized = Image.fromarray(image).resize((size, size), _FILTERS[interpolation], reducing_gap=_BLOCKS_FROM)
    return np.asarray(resized)


def resize_center_crop(image: RgbImage, side: int, size: int, interpolation: Interpolation) -> RgbImage:
    """Resize the shorter side to ``side``, then crop the central ``size x size`` pixels.

    Equals torchvision's ``Resize(side)`` and ``CenterCrop(size)`` on Pillow images within one grey level, but
    resamples only the crop. One value in a few hundred differs, as Pillow rounds the crop position to 24 bits. For
    images more than twice as high as wide more values differ, because Pillow then resamples the axes in the
    other order and clips the overshoots of the bicubic filter in between.

    Args:
        image: ``(height, width, 3)`` uint8.
        side: Length of the shorter side in pixels, at least ``size``.
        size: Width and height of the result in pixels.
        interpolation: Resampling filter.

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
    """The part of an image that ``resize_center_crop`` keeps: x, y, width and height in pixels of the image."""
    shorter = min(height, width)
    y0, y1 = _part(height, int(side * height / shorter), size)
    x0, x1 = _part(width, int(side * width / shorter), size)
    return x0, y0, x1 - x0, y1 - y0


def _part(length: int, resized: int, size: int) -> tuple[float, float]:
    """Start and end of the central ``size`` of ``resized`` pixels, in source pixels."""
    start = round((resized - size) / 2)
    return start * length / resized, (start + size) * length / resized


def _around(start: float, end: float, length: int, resized: int, interpolation: Interpolation) -> tuple[int, int]:
    """First and last source pixel that the filter reads between two positions."""
    reach = math.ceil(_REACH[interpolation] * max(1.0, length / resized)) + 1
    return max(0, math.floor(start) - reach), min(length, math.ceil(end) + reach)


def normalise(
    image: RgbImage, mean: Sequence[float], std: Sequence[float], out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Compute ``(value / 255 - mean) / std`` per channel.

    Args:
        image: ``(height, width, 3)`` uint8.
        mean: Mean of each channel, for values in [0, 1].
        std: Standard deviation of each channel, for values in [0, 1].
        out: Array to write to instead of a new one, ``(3, height, width)`` float32.

    Returns:
        ``(3, height, width)`` float32: ``out``, or a new C-contiguous array.
    """
    if out is None:
        out = np.empty((3, *image.shape[:2]), dtype=np.float32)
    values = np.arange(256, dtype=np.float32) / 255
    for channel, plane in enumerate(out):
        table = (values - np.float32(mean[channel])) / np.float32(std[channel])
        np.take(table, image[:, :, channel], out=plane, mode="clip")
    return out


def thumbnail(image: RgbImage, side: int = 0, quality: int = 80) -> bytes:
    """Encode a JPEG thumbnail; an image smaller than ``side`` is not enlarged.

    Args:
        image: ``(height, width, 3)`` uint8.
        side: Length of the longer side in pixels; 0: 256, and more for elongated images, whose parts would
            otherwise be too small to be compared.
        quality: JPEG quality by Pillow's scale, 1 to 95.
    """
    import cv2  # noqa: PLC0415 - the import is slow, and searching creates no thumbnails

    height, width = image.shape[:2]
    side = side or (longer_side(width, height, 512) if is_elongated(width, height) else 256)
    factor = side / max(height, width)
    if factor < 1:
        # Area averaging is several times as fast as Pillow's filters, and ``verification.photometry`` reduces the
        # images that it compares in the same way.
        size = max(1, round(width * factor)), max(1, round(height * factor))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
