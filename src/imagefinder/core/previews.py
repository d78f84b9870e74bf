"""Previews: pictures of stored images that every browser can show, and their sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

SIZES = (400, 800, 1600, 3200, 6400, 12800, 25600)
"""Lengths of the longer side in pixels; a preview has one of them, or the size of the image if that is smaller."""

DEFAULT_SIZE = 1600

KeptKind: TypeAlias = Literal["original", "preview"]
"""Parts of an uploaded image that a collection keeps: its bytes, and a preview of them."""

PreviewSource: TypeAlias = Literal["file", "address", "original", "preview", "thumbnail"]
"""Where the pixels of a preview come from: the unchanged file or archive member, the unchanged content of a web
address, the original or preview that the collection keeps, or the thumbnail, if nothing else is available."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered preview.

    Attributes:
        data: An encoded JPEG in sRGB, upright, without metadata.
        width: Width in pixels.
        height: Height in pixels.
    """

    data: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Preview:
    """A preview of a stored image.

    Attributes:
        data: An encoded JPEG in sRGB, upright, without metadata.
        source: Where its pixels come from.
        reason: Why it shows the thumbnail; otherwise empty.
    """

    data: bytes
    source: PreviewSource
    reason: str = ""


def size_step(size: int) -> int:
    """The smallest of ``SIZES`` that has at least this many pixels, or the largest one."""
    return next((step for step in SIZES if step >= size), SIZES[-1])
