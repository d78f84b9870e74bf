"""Compare pictures with their crops: a network that knows images finds a crop nearer than another picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.features import RgbImage
from imagefinder.core.method import Method

CROPPED = 0.7
"""Width and height of a crop, as a fraction of the picture."""


@dataclass(frozen=True, slots=True)
class CropScores:
    """Scores of a method between pictures and their crops.

    Attributes:
        crops: Scores of each picture with its crop.
        others: Scores of each picture with the crops of the others.
    """

    crops: tuple[float, ...]
    others: tuple[float, ...]

    @property
    def nearer(self) -> bool:
        """Whether every crop is nearer than every other picture."""
        return min(self.crops) > max(self.others)


def score_crops(method: Method, pictures: tuple[RgbImage, ...]) -> CropScores:
    """Score pictures, at least two, against their crops.

    Raises:
        ModelError: the network cannot run.
    """
    queries = method.extractor.extract(pictures)
    gallery = method.extractor.extract([_crop(picture) for picture in pictures])
    scores: NDArray[np.float64] = np.array(
        [method.matcher.score(queries.image(row), gallery) for row in range(len(pictures))]
    )
    same = np.eye(len(pictures), dtype=bool)
    return CropScores(tuple(scores[same].tolist()), tuple(scores[~same].tolist()))


def drawn_pictures() -> tuple[RgbImage, RgbImage]:
    """Two pictures, drawn by formulas: warm discs on a gradient, and cool stripes with squares."""
    y, x = np.mgrid[0:240, 0:320].astype(np.float64) / 240
    warm = np.stack([0.5 + 0.4 * x, 0.35 + 0.2 * y, 0.15 + 0.1 * x * y], axis=-1)
    for cx, cy, radius, colour in (
        (0.35, 0.4, 0.22, (0.9, 0.8, 0.2)),
        (0.9, 0.6, 0.28, (0.6, 0.1, 0.1)),
        (0.6, 0.25, 0.1, (1.0, 1.0, 0.9)),
    ):
        warm[(x - cx) ** 2 + (y - cy) ** 2 < radius**2] = colour
    stripes = (np.sin(40 * (x + 0.5 * y)) > 0)[..., None]
    cool = np.where(stripes, (0.1, 0.3, 0.7), (0.7, 0.85, 0.9))
    for left, top, side in ((0.2, 0.2, 0.25), (0.7, 0.5, 0.35), (1.0, 0.1, 0.15)):
        inside = (x > left) & (x < left + side) & (y > top) & (y < top + side)
        cool[inside] = (0.05, 0.4 * side, 0.2)
    first, second = ((255 * np.clip(one, 0, 1)).astype(np.uint8) for one in (warm, cool))
    return first, second


def _crop(picture: RgbImage) -> RgbImage:
    height, width = picture.shape[:2]
    rows, columns = max(1, int(height * CROPPED)), max(1, int(width * CROPPED))
    top, left = (height - rows) // 3, (width - columns) // 3
    return np.ascontiguousarray(picture[top : top + rows, left : left + columns])
