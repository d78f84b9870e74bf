"""Count the pages of TIFF files and the frames of animations from their structure, without decoding."""

from __future__ import annotations

import struct
from typing import BinaryIO, Literal, TypeAlias

Kind: TypeAlias = Literal["pages", "frames"]

PAGED_SUFFIXES = frozenset({"tif", "tiff"})
ANIMATED_SUFFIXES = frozenset({"gif", "webp", "png", "apng"})

_MOST = 10_000
"""Largest number of frames counted."""


def count(file: BinaryIO) -> tuple[Kind, int]:
    """The number of pages of a TIFF, or of frames of a GIF, PNG or WebP; 1 for any other or damaged file."""
    start = file.read(16)
    file.seek(0)
    try:
        if start.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
            from imagefinder.images.decoding.tiff import page_offsets  # noqa: PLC0415 - imports NumPy

            return "pages", max(1, sum(1 for _ in page_offsets(file, _MOST)))
        if start.startswith((b"GIF87a", b"GIF89a")):
            return "frames", max(1, _gif(file))
        if start.startswith(b"\x89PNG"):
            return "frames", max(1, min(_MOST, _png(file)))
        if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
            return "frames", max(1, _webp(file))
    except (struct.error, IndexError, OSError, ValueError, OverflowError):
        pass
    return "frames", 1


def _gif(file: BinaryIO) -> int:
    """Number of image descriptors (GIF89a specification)."""
    flags = file.read(13)[10]
    file.seek(_table(flags), 1)
    frames = 0
    while frames < _MOST:
        block = file.read(1)
        if block == b",":
            frames += 1
            file.seek(_table(file.read(9)[8]) + 1, 1)
        elif block == b"!":
            file.seek(1, 1)
        else:
            break
        while (size := file.read(1)) and size != b"\0":
            file.seek(size[0], 1)
    return frames


def _table(flags: int) -> int:
    """Bytes of the colour table that follows."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _png(file: BinaryIO) -> int:
    """Number of frames in the animation control chunk, which precedes the pixels."""
    file.seek(8)
    for _ in range(_MOST):
        length, name = struct.unpack(">I4s", file.read(8))
        if name == b"acTL":
            (frames,) = struct.unpack(">I", file.read(4))
            return int(frames)
        if name in (b"IDAT", b"IEND"):
            break
        file.seek(length + 4, 1)
    return 1


def _webp(file: BinaryIO) -> int:
    """Number of ANMF chunks."""
    file.seek(12)
    frames = 0
    while frames < _MOST and len(header := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", header)
        frames += name == b"ANMF"
        file.seek(length + length % 2, 1)
    return frames
