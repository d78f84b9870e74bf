"""The image formats and their file extensions, in one list; ``docs/concepts/formats.md`` has a row for each."""

from __future__ import annotations

# fmt: off
READ = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif", "mpo"), "PNG": ("png", "apng"), "GIF": ("gif",), "WebP": ("webp",),
    "TIFF": ("tif", "tiff"), "BMP": ("bmp", "dib"), "HEIC": ("heic", "heics", "heif", "heifs", "hif"),
    "AVIF": ("avif", "avifs"), "JPEG 2000": ("jp2", "j2k", "jpx", "jpf", "j2c", "jpc"), "PSD": ("psd",),
    "ICO": ("ico",), "ICNS": ("icns",), "TGA": ("tga",), "PPM": ("ppm", "pgm", "pbm", "pnm"), "PFM": ("pfm",),
    "PCX": ("pcx",), "QOI": ("qoi",), "SGI": ("sgi",), "DDS": ("dds",),
    "camera files": ("dng", "cr2", "nef", "nrw", "arw", "pef"),
}
"""Format -> extensions (lower case) of the formats that are read."""

REJECTED = ("jxl", "cr3", "raf", "orf", "rw2", "psb")
"""Extensions of images that are reported as failures instead of being skipped."""
# fmt: on

IMAGE_SUFFIXES = frozenset(suffix for suffixes in READ.values() for suffix in suffixes) | set(REJECTED)
"""File extensions (lower case) of images in folders and archives."""

_NAMES = tuple(READ)
SUPPORTED = f"{', '.join(_NAMES[:-1])} and {_NAMES[-1]}"
"""The formats that are read, for messages."""
