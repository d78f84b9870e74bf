"""The contracts of the parts that read images: decoders, and downloads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from imagefinder.core.colours import Colours
from imagefinder.core.features import Decoded, FullDepth
from imagefinder.core.previews import Rendered


class Decoder(Protocol):
    """Decodes images, including malformed and malicious ones."""

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
        """Decode a page of an encoded image to upright RGB pixels.

        Args:
            data: The encoded image.
            max_bytes: Maximum length of ``data``.
            max_pixels: Maximum width x height; checked before any pixels are decoded.
            page: Page of the file, or frame of the animation, from 1.
            fit_in: Larger images are reduced to at most this many pixels; 0: never.
            colours: Whether colours with an ICC profile are converted to sRGB.

        Raises:
            ImageError: the image cannot be used.
        """

    def render(  # wide: independent limits, given by keyword
        self, data: bytes, *, side: int, max_bytes: int, max_pixels: int, page: int = 1, fit_in: int = 0
    ) -> Rendered:
        """Render a page of an encoded image as a preview in sRGB, upright and without metadata.

        Args:
            data: The encoded image.
            side: Largest length of the longer side of the preview, pixels; smaller images are not enlarged.
            max_bytes: As for ``decode``, like the other arguments and the errors.
            max_pixels: As for ``decode``.
            page: As for ``decode``.
            fit_in: As for ``decode``.
        """

    def examine(self, data: bytes, *, max_bytes: int, max_pixels: int) -> FullDepth:
        """Decode all frames of an encoded image in full depth; arguments and errors as for ``decode``."""

    def read_metadata(self, data: bytes, sidecars: Sequence[bytes] = ()) -> dict[str, Any]:
        """Read the properties of an image from its bytes and its sidecar files, by ``core.file_metadata`` names.

        Raises:
            ImageError: that took too long, or crashed the decoder.
        """

    def start(self) -> None:
        """Prepare for an image that will arrive soon; returns immediately."""

    def close(self) -> None:
        """Release processes and memory. Repeated calls have no effect."""


class Fetcher(Protocol):
    """Downloads images."""

    def fetch(self, url: str) -> bytes:
        """Download the encoded image behind an ``http`` or ``https`` URL.

        Raises:
            FetchError: the download failed, or the address is not allowed.
            ImageTooLargeError: the response exceeds the size limit.
        """
        ...

    def close(self) -> None:
        """Close all connections. Repeated calls have no effect."""
        ...
