"""Decode an image in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from imagefinder.core.colours import Colours
from imagefinder.core.errors import ImageError
from imagefinder.core.features import Decoded, FullDepth, RgbImage
from imagefinder.core.previews import Rendered
from imagefinder.images.decoding import full_depth, pillow_decoder, rendering

__all__ = ["Decoded", "InProcessDecoder", "decode", "decode_thumbnail"]

THUMBNAIL_BYTES, THUMBNAIL_PIXELS = 4 << 20, 1 << 22
"""Limits for decoding a thumbnail; far above the size of any thumbnail."""


def decode(  # wide: independent limits, given by keyword
    data: bytes, *, max_bytes: int, max_pixels: int, page: int = 1, fit_in: int = 0, colours: Colours = "srgb"
) -> Decoded:
    """Decode a page of an encoded image to upright 8-bit RGB.

    EXIF orientation is applied, and colours with an ICC profile are converted to sRGB (``colours``). Transparency
    is composited over white or, if the drawing would vanish on it, over black or grey (``transparency``). CMYK,
    palette, grey, 16-bit and float images become 8-bit RGB (``depth``).

    Args:
        data: The encoded image: JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC, AVIF or another format that Pillow decodes
            without starting another program.
        max_bytes: Largest ``data`` accepted.
        max_pixels: Largest width x height accepted; checked before pixels are decoded.
        page: Page of a TIFF or HEIC file, or frame of an animation, counted from 1.
        fit_in: Larger images are reduced by a whole factor to at most this many pixels; 0: never. It is set for
            local files, so that errors name the setting ``max_local_pixels``.
        colours: ``file`` ignores ICC profiles, as versions before 0.2 did.

    Raises:
        EmptyImageError: no bytes, or no pixels.
        NotAnImageError: unrecognised or unsupported format.
        DamagedImageError: truncated or corrupt, or without this page.
        ImageTooLargeError: over a limit.
    """
    image = pillow_decoder.load(
        data, max_bytes=max_bytes, max_pixels=max_pixels, page=page, fit_in=fit_in, colours=colours
    )
    pixels = b"".join(image.rows())
    rgb = np.frombuffer(pixels, dtype=np.uint8).reshape(image.height, image.width, 3)
    return Decoded(rgb, image.format, image.pages, image.size)


def decode_thumbnail(data: bytes) -> RgbImage:
    """The pixels of an encoded thumbnail; ``(0, 0, 3)`` if it cannot be decoded."""
    try:
        return decode(data, max_bytes=THUMBNAIL_BYTES, max_pixels=THUMBNAIL_PIXELS).rgb
    except ImageError:
        return np.empty((0, 0, 3), dtype=np.uint8)


class InProcessDecoder:
    """A ``Decoder`` without worker processes: it starts at once, but a crash in a codec ends this process."""

    def decode(  # wide: independent limits, given by keyword
        self,
        data: bytes,
        *,
        max_bytes: int,
        max_pixels: int,
        page: int = 1,
        fit_in: int = 0,
        colours: Colours = "srgb",
    ) -> Decoded:
        """Decode a page of an encoded image; the same arguments and errors as ``decode``."""
        return decode(data, max_bytes=max_bytes, max_pixels=max_pixels, page=page, fit_in=fit_in, colours=colours)

    def render(  # wide: independent limits, given by keyword
        self, data: bytes, *, side: int, max_bytes: int, max_pixels: int, page: int = 1, fit_in: int = 0
    ) -> Rendered:
        """Render a preview; the same arguments and errors as ``rendering.render``."""
        return rendering.render(
            data, side=side, max_bytes=max_bytes, max_pixels=max_pixels, page=page, fit_in=fit_in
        )

    def examine(self, data: bytes, *, max_bytes: int, max_pixels: int) -> FullDepth:
        """Decode all frames in full depth; the same arguments and errors as ``full_depth.examine``."""
        return full_depth.examine(data, max_bytes=max_bytes, max_pixels=max_pixels)

    def read_metadata(self, data: bytes, sidecars: Sequence[bytes] = ()) -> dict[str, Any]:
        """Read the properties of an image; ``images.metadata.read`` documents them."""
        from imagefinder.images.metadata.read import read  # noqa: PLC0415 - queries have no metadata

        return read(data, sidecars)

    def start(self) -> None:
        """Do nothing: there is nothing to start."""

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
