"""Small versions of images, which show at little cost that two whole images do not agree.

It is the windowed comparison of ``photometry`` at a quarter of its resolution, with tolerances on the safe side:
most wrong pairs are settled by it, without decoding or warping their thumbnails. There is no proof that no right
pair is lost; the margin was measured (``docs/concepts/duplicates.md``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from imagefinder.core.features import RgbImage
from imagefinder.verification.photometry import TEXTURE

SIDE = 64
"""Width and height in pixels of a small image; the ratio of its sides is lost."""

WINDOW, BLUR = 5, 0.6
"""Side of a window and standard deviation of the blur, in pixels."""

ALIKE, SHARE = 0.5, 0.3
"""Whole images may agree if this share of the textured windows correlates at least like this. Images that agree
reach 0.41, and nearly all of them 0.5; four out of five others stay below 0.3."""

KEPT = 1 << 14
"""Number of small images in memory: 64 MiB."""


@dataclass(frozen=True, slots=True, eq=False)
class SmallImage:
    """A small image and the statistics of its windows, each ``(64, 64)`` float32.

    Attributes:
        grey: Brightness, 0 to 255.
        mean: Mean of the window around each pixel.
        variance: Variance of the window around each pixel.
        texture: The variances, relative to that of the image.
    """

    grey: NDArray[np.float32]
    mean: NDArray[np.float32]
    variance: NDArray[np.float32]
    texture: NDArray[np.float32]

    def mirrored(self) -> SmallImage:
        """The mirror image (left to right)."""
        sides = (self.grey, self.mean, self.variance, self.texture)
        return SmallImage(*(np.ascontiguousarray(values[:, ::-1]) for values in sides))

    def may_agree(self, other: SmallImage) -> bool:
        """Whether the images from which both were made may agree; true also if neither has any texture."""
        textured = np.maximum(self.texture, other.texture) > TEXTURE
        covariance = _means(self.grey * other.grey) - self.mean * other.mean
        alike = covariance > ALIKE * (np.sqrt(self.variance * other.variance) + 1e-3)
        return bool(np.count_nonzero(alike & textured) >= SHARE * np.count_nonzero(textured))


class SmallImages:
    """Makes small images of thumbnails, and keeps those made last; safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[str, NDArray[np.uint8]] = {}

    def get(self, image_id: str, pixels: Callable[[], RgbImage]) -> SmallImage | None:
        """The small version of an image; ``None`` if it has no pixels.

        Args:
            image_id: Id of the image.
            pixels: Returns ``(H, W, 3)`` uint8 RGB; called only if the small image is not in memory.
        """
        small = self._kept.get(image_id)
        if small is None:
            image = pixels()
            if image.size == 0:
                return None
            grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
            small = np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA), dtype=np.uint8)
            with self._lock:
                self._kept[image_id] = small
                if len(self._kept) > KEPT:
                    del self._kept[next(iter(self._kept))]
        return _with_statistics(small)


def _with_statistics(small: NDArray[np.uint8]) -> SmallImage:
    grey = np.asarray(cv2.GaussianBlur(small.astype(np.float32), (0, 0), BLUR))
    mean = _means(grey)
    variance = np.maximum(_means(grey * grey) - mean * mean, 0)
    return SmallImage(grey, mean, variance, variance / (variance.mean() + 1))


def _means(values: Any) -> NDArray[np.float32]:
    return np.asarray(cv2.blur(values, (WINDOW, WINDOW)))
