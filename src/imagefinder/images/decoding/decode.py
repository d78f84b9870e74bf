"""Bytes to an upright 8-bit RGB array: one decoder for every method."""

from __future__ import annotations

import numpy as np

from imagefinder.core.features import Decoded
from imagefinder.images.decoding import pillow_decoder

__all__ = ["Decoded", "InProcessDecoder", "decode"]


def decode(data: bytes, *, max_bytes: int, max_pixels: int) -> Decoded:
    """Decode the first frame of an encoded picture, in this process.

    EXIF orientation is applied; transparency is laid over white; CMYK, palette, grey, 16-bit and float
    pictures become 8-bit RGB (16-bit keeps its upper eight bits, rounded; 32-bit and float pictures are
    stretched from their least to their greatest value).

    Args:
        data: The encoded picture: JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC, AVIF and whatever else Pillow reads
            in process.
        max_bytes: Largest ``data`` accepted.
        max_pixels: Largest width x height accepted; checked before pixels are decoded.

    Raises:
        EmptyImageError: no bytes, or no pixels.
        NotAnImageError: no known format.
        DamagedImageError: cut short or corrupt.
        ImageTooLargeError: over a limit.
    """
    picture = pillow_decoder.read(data, max_bytes=max_bytes, max_pixels=max_pixels)
    pixels = b"".join(picture.rows())
    rgb = np.frombuffer(pixels, dtype=np.uint8).reshape(picture.height, picture.width, 3)
    return Decoded(rgb, picture.format)


class InProcessDecoder:
    """``decode`` as a ``Decoder``: nothing to start, and no protection against what a decoder does."""

    def decode(self, data: bytes, *, max_bytes: int, max_pixels: int) -> Decoded:
        """See ``decode``."""
        return decode(data, max_bytes=max_bytes, max_pixels=max_pixels)

    def start(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""
