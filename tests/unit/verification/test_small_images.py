"""Small images against the comparison of whole images that they stand for."""

import cv2
import numpy as np
import pytest

from imagefinder.search.verification import whole_image
from imagefinder.testing.extractors import textured_image
from imagefinder.verification import small_images
from imagefinder.verification.photometry import WindowedPhotometricCheck
from imagefinder.verification.relation import CLEARLY
from imagefinder.verification.small_images import SmallImages


def small(image):
    return SmallImages().get("", lambda: image)


def picture(seed):
    return np.asarray(cv2.resize(textured_image(seed, 320, 240), (240, 180), interpolation=cv2.INTER_AREA))


def captioned(image):
    changed = image.copy()
    changed[-36:] = 255
    return cv2.putText(changed, "a caption below", (6, 165), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 0, 0), 2)


EDITS = {
    "the same": lambda image: image,
    "blurred": lambda image: cv2.GaussianBlur(image, (0, 0), 2.0),
    "brighter": lambda image: np.clip(image * 0.6 + 90, 0, 255).astype(np.uint8),
    "grey": lambda image: np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8),
    "reduced": lambda image: cv2.resize(image, (120, 90), interpolation=cv2.INTER_AREA),
    "captioned": captioned,
    "cropped by a few pixels": lambda image: np.ascontiguousarray(image[2:-1, 2:-2]),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("mirrored", [False, True])
def test_images_that_agree_pass(edit, mirrored):
    for seed in range(4):
        image = picture(seed)
        copy = EDITS[edit](np.ascontiguousarray(image[:, ::-1]) if mirrored else image)
        sizes = [(one.shape[1], one.shape[0]) for one in (image, copy)]
        evidence = whole_image(*sizes, mirrored=mirrored)
        agreement = WindowedPhotometricCheck().agreement(image, sizes[0], copy, sizes[1], evidence)
        query = small(image).mirrored() if mirrored else small(image)
        assert query.may_agree(small(copy)) or agreement < CLEARLY


def test_most_pairs_of_other_images_are_settled():
    images = [small(picture(seed)) for seed in range(12)]
    passed = [one.may_agree(other) for one in images for other in images if one is not other]
    assert np.mean(passed) < 0.3


def test_images_without_texture_are_left_to_the_full_comparison():
    assert small(np.full((60, 80, 3), 90, np.uint8)).may_agree(small(np.full((60, 80, 3), 200, np.uint8)))


def test_images_are_kept_within_a_limit(monkeypatch):
    monkeypatch.setattr(small_images, "KEPT", 2)
    images, read = SmallImages(), []

    def get(name):
        images.get(name, lambda: read.append(name) or picture(0))

    for name in "aabcca":
        get(name)
    assert read == ["a", "b", "c", "a"]


def test_an_image_without_pixels_has_none():
    assert SmallImages().get("a", lambda: np.empty((0, 0, 3), np.uint8)) is None
