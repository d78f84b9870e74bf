"""Render a preview of an encoded image: a JPEG in sRGB, upright, without metadata."""

from __future__ import annotations

import io

from PIL import Image

from imagefinder.core.features import RgbImage
from imagefinder.core.previews import Rendered
from imagefinder.images.decoding import pillow_decoder

VERSION = 1
"""Raised whenever the same image gives another preview, so that cached ones are not used any more."""

_QUALITY = 85
_GAP = 2
"""The pixels are averaged in blocks down to this many times the size, then resampled with a Lanczos filter."""


def render(  # wide: independent limits, given by keyword
    data: bytes, *, side: int, max_bytes: int, max_pixels: int, page: int = 1, fit_in: int = 0
) -> Rendered:
    """Render a page of an encoded image.

    Args:
        data: The encoded image.
        side: Largest length of the longer side of the preview, pixels; smaller images are not enlarged.
        max_bytes: Largest ``data`` accepted.
        max_pixels: Largest width x height accepted; checked before pixels are decoded.
        page: Page of the file, or frame of the animation, from 1.
        fit_in: Larger images are reduced to at most this many pixels; 0: never.

    Raises:
        ImageError: as for ``decode.decode``.
    """
    loaded = pillow_decoder.load(
        data, max_bytes=max_bytes, max_pixels=max_pixels, page=page, fit_in=fit_in, side=_GAP * side
    )
    size = loaded.width, loaded.height
    return _encoded(Image.frombytes("RGB", size, b"".join(loaded.rows())), side)


def render_pixels(pixels: RgbImage, *, side: int) -> Rendered:
    """Render a decoded image, in this process.

    Args:
        pixels: ``(height, width, 3)`` uint8 RGB in sRGB, upright.
        side: Largest length of the longer side of the preview, pixels.
    """
    image = Image.fromarray(pixels)
    factor = max(image.size) // (_GAP * side)
    return _encoded(image.reduce(factor) if factor > 1 else image, side)


def _encoded(image: Image.Image, side: int) -> Rendered:
    factor = side / max(image.size)
    if factor < 1:
        width, height = (max(1, round(length * factor)) for length in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY, subsampling="4:4:4")
    return Rendered(buffer.getvalue(), image.width, image.height)
