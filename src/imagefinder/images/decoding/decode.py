"""Decode an image in this process."""

from __future__ import annotations

import numpy as np

from imagefinder.core.features import Decoded, FullDepth
from imagefinder.images.decoding import full_depth, pillow_decoder

__all__ = ["Decoded", "InProcessDecoder", "decode"]


def decode(data: bytes, *, max_bytes: int, max_pixels: int) -> Decoded:
    """Decode the first frame of an encoded image to upright 8-bit RGB.

    EXIF orientation is applied and transparency is composited over white. CMYK, palette, grey, 16-bit and float
    images become 8-bit RGB: 16-bit values are rounded to their upper eight bits; 32-bit integer and float values
    are stretched from their minimum to their maximum.

    Args:
        data: The encoded image: JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC, AVIF or another format that Pillow decodes
            without starting another program.
        max_bytes: Largest ``data`` accepted.
        max_pixels: Largest width x height accepted; checked before pixels are decoded.

    Raises:
        EmptyImageError: no bytes, or no pixels.
        NotAnImageError: unrecognised or unsupported format.
        DamagedImageError: truncated or corrupt.
        ImageTooLargeError: over a limit.
    """
    image = pillow_decoder.load(data, max_bytes=max_bytes, max_pixels=max_pixels)
    pixels = b"".join(image.rows())
    rgb = np.frombuffer(pixels, dtype=np.uint8).reshape(image.height, image.width, 3)
    return Decoded(rgb, image.format)


class InProcessDecoder:
    """A ``Decoder`` without worker processes: it starts at once, but a crash in a codec ends this process."""

    def decode(self, data: bytes, *, max_bytes: int, max_pixels: int) -> Decoded:
        """Decode the first frame of an encoded image; the same arguments and errors as ``decode``."""
        return decode(data, max_bytes=max_bytes, max_pixels=max_pixels)

    def examine(self, data: bytes, *, max_bytes: int, max_pixels: int) -> FullDepth:
        """Decode all frames in full depth; the same arguments and errors as ``full_depth.examine``."""
        return full_depth.examine(data, max_bytes=max_bytes, max_pixels=max_pixels)

    def start(self) -> None:
        """Do nothing: there is nothing to start."""

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
