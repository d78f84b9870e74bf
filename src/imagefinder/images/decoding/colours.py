"""Convert the colours of images with an embedded ICC profile to sRGB; all other images are assumed to be in sRGB.

Colours are converted colorimetrically, with black point compensation. A profile that cannot be used, or that is
for another kind of colours than those of the image, is ignored, as in browsers. Profiles that differ from sRGB by
at most two levels change nothing.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

from PIL import Image, ImageCms

Convert: TypeAlias = Callable[[Image.Image], Image.Image]

_PLAIN = {"1": "L", "L": "L", "LA": "L", "La": "L", "CMYK": "CMYK"} | dict.fromkeys(
    ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr"), "RGB"
)
"""Pillow's mode -> the mode of its colours without transparency."""

_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_TOLERANCE = 2
_LEVELS = range(0, 256, 15)
_LARGEST_PROFILE = 8 << 20  # a press with fine tables has 3 MB


def converter(mode: str, profile: bytes) -> Convert | None:
    """A function that converts an image, or a strip of it, to sRGB: to mode RGB, or RGBA if it has transparency.

    Args:
        mode: Pillow's mode of the image.
        profile: Its ICC profile; may be empty.

    Returns:
        ``None`` if the colours remain as they are.
    """
    plain = _PLAIN.get(mode)
    if not profile or plain is None or len(profile) > _LARGEST_PROFILE:
        return None
    found = _transform(plain, bytes(profile))
    if found is None:
        return None
    space, transform = found

    def convert(image: Image.Image) -> Image.Image:
        if not image.has_transparency_data:
            return ImageCms.applyTransform(_in_mode(image, space), transform) or image
        image = image.convert("RGBA")
        shown = ImageCms.applyTransform(_in_mode(image.convert("RGB"), space), transform) or image
        shown.putalpha(image.getchannel("A"))
        return shown

    return convert


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


@lru_cache(maxsize=8)
def _transform(mode: str, profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform] | None:
    """The mode of its input and the transform to sRGB; ``None`` if there is none, or it changes nothing."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if mode == "L" and space == "RGB":
            mode = "RGB"
        if space != _SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return None if _is_identity(mode, transform) else (mode, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _is_identity(mode: str, transform: ImageCms.ImageCmsTransform) -> bool:
    if mode == "CMYK":
        return False
    if mode == "L":
        samples = bytes(range(256))
    else:
        samples = bytes(value for r in _LEVELS for g in _LEVELS for b in _LEVELS for value in (r, g, b))
    image = Image.frombytes(mode, (len(samples) // len(mode), 1), samples)
    shown = ImageCms.applyTransform(image, transform)
    if shown is None:
        return False
    before, after = image.convert("RGB").tobytes(), shown.tobytes()
    return all(abs(a - b) <= _TOLERANCE for a, b in zip(before, after, strict=True))
