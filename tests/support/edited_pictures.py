"""Typical edits of images; with the same Pillow, every run gives the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

Edit = Callable[[Image.Image], Image.Image]


def crop(image: Image.Image) -> Image.Image:
    """The central four fifths of each side."""
    width, height = image.size
    return image.crop((width // 10, height // 10, width - width // 10, height - height // 10))


def corner(image: Image.Image) -> Image.Image:
    """The top left quarter."""
    return image.crop((0, 0, image.width // 2, image.height // 2))


def rotated(image: Image.Image) -> Image.Image:
    """Rotated by 10 degrees, on a white background."""
    return image.rotate(10, Image.Resampling.BICUBIC, expand=True, fillcolor="white")


def on_its_side(image: Image.Image) -> Image.Image:
    """Rotated by 90 degrees."""
    return image.transpose(Image.Transpose.ROTATE_90)


def screenshot(image: Image.Image) -> Image.Image:
    """A screenshot of a window: title bar, margins and lines of text around the image."""
    unit = max(12, image.width // 24)
    page = Image.new("RGB", (image.width + 2 * unit, image.height + 8 * unit), "#f6f7f9")
    pen = ImageDraw.Draw(page)
    pen.rectangle((0, 0, page.width, 2 * unit), fill="#34548c")
    page.paste(image, (unit, 3 * unit))
    for line in range(3):
        y = image.height + (4 + 1.2 * line) * unit
        pen.rectangle((unit, y, page.width - (2 + 3 * line) * unit, y + unit // 3), fill="#282c34")
    return page


def darker(image: Image.Image) -> Image.Image:
    """Half the brightness."""
    return ImageEnhance.Brightness(image).enhance(0.5)


def brighter(image: Image.Image) -> Image.Image:
    """1.5 times the brightness."""
    return ImageEnhance.Brightness(image).enhance(1.5)


def small(image: Image.Image) -> Image.Image:
    """Downscaled to at most 256 x 256 pixels."""
    image = image.copy()
    image.thumbnail((256, 256))
    return image


def scrap(image: Image.Image) -> Image.Image:
    """The central fifth of each side."""
    width, height = image.size
    return image.crop((2 * width // 5, 2 * height // 5, 3 * width // 5, 3 * height // 5))


def stamp(image: Image.Image) -> Image.Image:
    """Downscaled to at most 64 x 64 pixels."""
    image = image.copy()
    image.thumbnail((64, 64))
    return image


def blurred(image: Image.Image) -> Image.Image:
    """Strongly blurred, so that only coarse shapes remain."""
    return image.filter(ImageFilter.GaussianBlur(max(image.size) / 80))


def mirrored_part(image: Image.Image) -> Image.Image:
    """The top left quarter, mirrored, rotated by 30 degrees, at half the brightness."""
    return darker(ImageOps.mirror(corner(image)).rotate(30, Image.Resampling.BICUBIC, expand=True))


def on_a_page(image: Image.Image) -> Image.Image:
    """A small version of the image on a large page of text."""
    page = Image.new("RGB", (900, 1200), "white")
    pen = ImageDraw.Draw(page)
    for y in range(60, 1140, 24):
        pen.rectangle((60, y, 840 - y * 7 % 200, y + 8), fill="#282c34")
    reduced = small(image)
    pen.rectangle((300, 400, 620, 720), fill="white")
    page.paste(reduced, (330, 430))
    return page


EDITS: Mapping[str, Edit] = {
    "crop": crop,
    "corner": corner,
    "mirror": ImageOps.mirror,
    "rotated": rotated,
    "on its side": on_its_side,
    "screenshot": screenshot,
    "darker": darker,
    "brighter": brighter,
    "small": small,
}
"""Edits that nearly every search handles."""

HARD_EDITS: Mapping[str, Edit] = {
    "scrap": scrap,
    "stamp": stamp,
    "blurred": blurred,
    "mirrored part": mirrored_part,
    "on a page": on_a_page,
}
"""Edits that searches occasionally fail on."""


def edited(path: Path, edit: Edit, *, quality: int = 85) -> bytes:
    """Edit an image file and encode it as JPEG."""
    with Image.open(path) as image:
        return encoded(edit(image.convert("RGB")), quality=quality)


def encoded(image: Image.Image, *, quality: int = 85) -> bytes:
    """Encode an image as JPEG."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()
