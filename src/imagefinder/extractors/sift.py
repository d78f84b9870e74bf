"""SIFT features, computed by OpenCV.

Source: D. Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 60(2), 2004, as
implemented in OpenCV with its default parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

from imagefinder.core.elongated import PARTS, is_elongated, longer_side
from imagefinder.core.features import Features, FeatureSpec, LocalFeatures, RgbImage, concatenate
from imagefinder.core.fingerprint import Fingerprint

CONTRAST = 0.04
"""Default contrast threshold of OpenCV."""


class SiftExtractor:
    """Extracts SIFT descriptors as ``uint8``; OpenCV's are integers from 0 to 255, so this is lossless."""

    spec = FeatureSpec("local", 128, "uint8")

    def __init__(self, *, max_side: int, max_keypoints: int, threads: int, contrast: float = CONTRAST) -> None:
        """Create an extractor.

        Args:
            max_side: Images with a larger longer side are downscaled to this size in pixels; 0: never.
            max_keypoints: Number of strongest keypoints to keep; 0: all.
            threads: Number of images processed at once.
            contrast: Contrast threshold of keypoints (Lowe), on the scale of OpenCV.
        """
        self._contrast = contrast
        self._max_side = max_side
        self._max_keypoints = max_keypoints
        self._threads = threads

    def fingerprint(self) -> Fingerprint:
        """The parameters, which the features depend on."""
        parameters: dict[str, float] = {"max_keypoints": self._max_keypoints, "max_side": self._max_side}
        if self._contrast != CONTRAST:
            parameters["contrast"] = self._contrast
        return Fingerprint("sift", 1, parameters)

    def extract(self, images: Sequence[RgbImage]) -> LocalFeatures:
        """Features of each image, in order; an image without keypoints has no descriptors."""
        if len(images) > 1 and self._threads > 1:
            with ThreadPoolExecutor(min(self._threads, len(images))) as pool:
                parts = list(pool.map(self._one, images))
        else:
            parts = [self._one(image) for image in images]
        joined = concatenate(self.spec, parts)
        assert isinstance(joined, LocalFeatures)  # noqa: S101 - narrows the type; the spec says local
        return joined

    def _one(self, image: RgbImage) -> LocalFeatures:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        height, width = grey.shape
        scale = longer_side(width, height, self._max_side) / max(height, width)
        if 0 < scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        keypoints, descriptors = self._detect(grey)
        rows = np.array([(*k.pt, k.size, k.angle) for k in keypoints], dtype=np.float32).reshape(-1, 4)
        # Back to pixels of the original image: the pixel centre x of the downscaled image is (x + 0.5) * f - 0.5.
        fx, fy = width / grey.shape[1], height / grey.shape[0]
        if (fx, fy) != (1.0, 1.0):
            rows[:, 0] = (rows[:, 0] + 0.5) * fx - 0.5
            rows[:, 1] = (rows[:, 1] + 0.5) * fy - 0.5
            rows[:, 2] *= (fx * fy) ** 0.5
        return LocalFeatures(_to_uint8(descriptors), rows, np.array([0, len(rows)], dtype=np.int64))

    def _detect(self, grey: NDArray[np.uint8]) -> tuple[Sequence[cv2.KeyPoint], NDArray[np.float32] | None]:
        """Keypoints and descriptors: the strongest of the image or, if it is elongated, of each of its parts."""
        height, width = grey.shape
        detector = cv2.SIFT.create(nfeatures=self._max_keypoints, contrastThreshold=self._contrast)
        if not (self._max_keypoints and is_elongated(width, height)):
            return detector.detectAndCompute(grey, None)
        found, descriptors = cv2.SIFT.create(contrastThreshold=self._contrast).detectAndCompute(grey, None)
        length = max(self._max_side, 4 * min(width, height), max(width, height) / PARTS)
        axis = 0 if width > height else 1
        kept: list[int] = []
        of_part: dict[int, int] = {}
        for number in sorted(range(len(found)), key=lambda number: -found[number].response):
            part = int(found[number].pt[axis] // length)
            of_part[part] = of_part.get(part, 0) + 1
            if of_part[part] <= self._max_keypoints:
                kept.append(number)
        return [found[number] for number in kept], None if descriptors is None else descriptors[kept]


def mirrored(features: Features, width: int) -> LocalFeatures:
    """The features of the mirror images (left to right), without extracting again.

    A descriptor is a 4 x 4 grid of histograms of 8 directions, relative to the angle of the keypoint. In the
    mirror image, the rows of the grid are reversed and the directions are negated.

    Args:
        features: Features of images with the same width.
        width: Width of these images in pixels.
    """
    if not isinstance(features, LocalFeatures):
        raise TypeError("SIFT features must be local features")
    grid = features.descriptors.reshape(-1, 4, 4, 8).astype(np.uint8, copy=False)
    descriptors = np.ascontiguousarray(grid[:, ::-1][..., -np.arange(8) % 8].reshape(-1, 128))
    keypoints = features.keypoints.copy()
    keypoints[:, 0] = width - 1 - keypoints[:, 0]
    has_angle = keypoints[:, 3] >= 0
    keypoints[has_angle, 3] = (180 - keypoints[has_angle, 3]) % 360
    return LocalFeatures(descriptors, keypoints, features.offsets)


def _to_uint8(descriptors: NDArray[np.float32] | None) -> NDArray[np.uint8]:
    if descriptors is None:
        return np.empty((0, 128), dtype=np.uint8)
    return np.ascontiguousarray(descriptors.astype(np.uint8))
