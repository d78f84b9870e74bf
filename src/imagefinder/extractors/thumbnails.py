"""The features of thumbnails, which spatial verification compares for every method."""

from __future__ import annotations

from collections.abc import Sequence

from imagefinder.core.features import Features, RgbImage, rescale
from imagefinder.core.method import Method
from imagefinder.core.results import Size


def thumbnail_features(method: Method, thumbnails: Sequence[RgbImage], sizes: Sequence[Size]) -> list[Features]:
    """Features of decoded thumbnails, each a batch of one with keypoints in pixels of the image itself.

    Args:
        method: The method that compares thumbnails.
        thumbnails: Each ``(height, width, 3)`` uint8 RGB with at least one pixel.
        sizes: Width and height of each image.
    """
    extracted = method.extractor.extract(thumbnails)
    return [
        rescale(extracted.image(number), pixels, size)
        for number, (pixels, size) in enumerate(zip(thumbnails, sizes, strict=True))
    ]
