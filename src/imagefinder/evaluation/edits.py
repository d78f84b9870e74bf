"""Typical edits of images: crops, rotations, screenshots, collages and more, made with Pillow."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from imagefinder.core.features import RgbImage

LARGEST = 1600
"""Longest side in pixels. Larger images are reduced first, as most are before they are shared."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One way to edit an image.

    Attributes:
        name: Name for display.
        make: Makes the edited image from the image, followed by others if ``images`` is more than 1.
        images: Maximum number of images it uses.
        quality: JPEG quality of the result, 1 to 95.
    """

    name: str
    make: Callable[[Sequence[Image.Image], Random], Image.Image]
    images: int = 1
    quality: int = 90


def edited(edit: Edit, images: Sequence[RgbImage], random: Random) -> bytes:
    """Edit an image.

    Args:
        edit: The edit.
        images: ``(height, width, 3)`` uint8 each; the image to edit, then others for edits that use several.
        random: Source of positions and strengths; the same state gives the same bytes.

    Returns:
        JPEG bytes.
    """
    reduced = [Image.fromarray(image) for image in images]
    for image in reduced:
        image.thumbnail((LARGEST, LARGEST))
    buffer = io.BytesIO()
    edit.make(reduced, random).save(buffer, "JPEG", quality=edit.quality)
    return buffer.getvalue()


def _crop(area: float) -> Callable[[Sequence[Image.Image], Random], Image.Image]:
    """A region with this fraction of the area and the same aspect ratio, at a random position."""

    def make(images: Sequence[Image.Image], random: Random) -> Image.Image:
        image = images[0]
        width, height = (max(1, round(side * math.sqrt(area))) for side in image.size)
        x, y = random.randint(0, image.width - width), random.randint(0, image.height - height)
        return image.crop((x, y, x + width, y + height))

    return make


def _rotated(degrees: float) -> Callable[[Sequence[Image.Image], Random], Image.Image]:
    def make(images: Sequence[Image.Image], random: Random) -> Image.Image:
        angle = degrees if random.random() < 0.5 else -degrees
        return images[0].rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=(255, 255, 255))

    return make


def _mirrored(images: Sequence[Image.Image], random: Random) -> Image.Image:
    del random
    return ImageOps.mirror(images[0])


def _gray(images: Sequence[Image.Image], random: Random) -> Image.Image:
    del random
    return images[0].convert("L").convert("RGB")


def _same(images: Sequence[Image.Image], random: Random) -> Image.Image:
    del random
    return images[0]


def _reduced(images: Sequence[Image.Image], random: Random) -> Image.Image:
    del random
    width, height = images[0].size
    return images[0].resize((max(1, width // 4), max(1, height // 4)), Image.Resampling.LANCZOS)


def _blurred(images: Sequence[Image.Image], random: Random) -> Image.Image:
    return images[0].filter(ImageFilter.GaussianBlur(max(images[0].size) * random.uniform(0.003, 0.008)))


def _recoloured(images: Sequence[Image.Image], random: Random) -> Image.Image:
    image = images[0]
    for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        factor = random.uniform(0.4, 0.8) if random.random() < 0.5 else random.uniform(1.25, 1.8)
        image = enhancer(image).enhance(factor)
    return image


def _captioned(images: Sequence[Image.Image], random: Random) -> Image.Image:
    """Large white text with a dark outline, at the top and the bottom."""
    image = images[0].copy()
    pen, size = ImageDraw.Draw(image), max(10, image.width // 12)
    font, edge = ImageFont.load_default(size), max(1, size // 12)
    for line, y in ((random.choice(_LINES), 0.12), (random.choice(_LINES), 0.88)):
        centre = image.width / 2, image.height * y
        pen.text(
            centre, line, fill=(255, 255, 255), font=font, anchor="mm", stroke_width=edge, stroke_fill=(0, 0, 0)
        )
    return image


_LINES = ("WHEN YOU SEE IT", "look at this", "ONLY TODAY", "best day ever", "SALE 50% OFF", "it was like this")


def _screenshot(images: Sequence[Image.Image], random: Random) -> Image.Image:
    """The image in a window, with a title bar above and lines of text below."""
    image = images[0]
    light = random.random() < 0.5
    paper, ink = ((246, 247, 249), (40, 44, 52)) if light else ((24, 26, 31), (222, 225, 231))
    unit = max(12, image.width // 24)
    page = Image.new("RGB", (image.width + 2 * unit, image.height + 8 * unit), paper)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(unit * 0.7)
    pen.rectangle((0, 0, page.width, 2 * unit), fill=(52, 84, 140))
    pen.text((unit, 0.6 * unit), random.choice(_LINES), fill=(255, 255, 255), font=font)
    page.paste(image, (unit, 3 * unit))
    for row in range(3):
        pen.text((unit, image.height + (3.7 + 1.2 * row) * unit), random.choice(_LINES), fill=ink, font=font)
    return page


def _collage(images: Sequence[Image.Image], random: Random) -> Image.Image:
    """A 2 x 2 grid with the image in one field; fields without an image are filled with one colour."""
    width, height = (max(8, side // 2 + side // 8) for side in images[0].size)
    page = Image.new("RGB", (2 * width, 2 * height), (232, 228, 220))
    fields = [(0, 0), (width, 0), (0, height), (width, height)]
    random.shuffle(fields)
    for image, field in zip(images, fields, strict=False):
        page.paste(ImageOps.fit(image, (width, height)), field)
    return page


EDITS = (
    Edit("crop to 50%", _crop(0.5)),
    Edit("rotate 5", _rotated(5)),
    Edit("gray", _gray),
    Edit("screenshot", _screenshot),
    Edit("crop to 25%", _crop(0.25)),
    Edit("mirror", _mirrored),
    Edit("JPEG quality 10", _same, quality=10),
    Edit("rotate 90", _rotated(90)),
    Edit("resize to 25%", _reduced),
    Edit("text", _captioned),
    Edit("blur", _blurred),
    Edit("rotate 180", _rotated(180)),
    Edit("colours", _recoloured),
    Edit("collage", _collage, images=4),
)
"""In the order in which they are applied to images."""
