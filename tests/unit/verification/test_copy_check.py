"""Copies, other shots and other documents of one layout, all synthetic; ``benchmarks copies`` has real ones."""

import cv2
import numpy as np
import pytest

from imagefinder.testing.extractors import textured_image
from imagefinder.verification import copy_check
from imagefinder.verification.copy_check import compare, measure
from imagefinder.verification.registration import registrations

SAME = np.eye(3)


def finest(*args):
    """The images, aligned as well as possible."""
    return list(registrations(*args))[-1]


def distance(query, candidate, transform=SAME):
    sides = [(image, (image.shape[1], image.shape[0])) for image in (query, candidate)]
    return measure(finest(*sides, transform)).distance


def document(seed, lines=18):
    """A white page with a letterhead and lines of small marks that depend on the seed."""
    page = np.full((700, 500, 3), 255, np.uint8)
    cv2.putText(page, "Letterhead & Co", (40, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (20, 20, 20), 3)
    generator = np.random.default_rng(seed)
    for line in range(lines):
        text = "".join(chr(letter) for letter in generator.integers(97, 122, 28))
        cv2.putText(page, text, (40, 120 + 30 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1)
    return page


def photograph(seed):
    return cv2.GaussianBlur(textured_image(seed, 400, 500), (0, 0), 1.5)


def jpeg(image, quality=60):
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def darker(image):
    return (255 * (image / 255.0) ** 1.8).astype(np.uint8)


def grey(image):
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def captioned(image):
    image = image.copy()
    cv2.putText(image, "ANY CAPTION", (30, 380), cv2.FONT_HERSHEY_SIMPLEX, 2, (255, 255, 255), 5)
    return image


EDITS = [jpeg, darker, grey, captioned, lambda image: 255 - darker(255 - image)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("edit", EDITS)
def test_edited_copies_are_copies(edit, seed):
    image = photograph(seed)
    assert distance(image, edit(image)) < 1
    assert distance(edit(image), image) < 1


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.4, -0.8)])
def test_a_crop_is_a_copy_although_its_geometry_is_a_pixel_off(shift):
    image = photograph(4)
    transform = np.array([[1, 0, -100 + shift[0]], [0, 1, -60 + shift[1]], [0, 0, 1]])
    assert distance(image, jpeg(image[60:360, 100:420]), transform) < 1


def test_two_sizes_of_one_image_are_copies():
    image = photograph(5)
    small = cv2.resize(image, (250, 200), interpolation=cv2.INTER_AREA)
    transform = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]])
    assert distance(image, small, transform) < 1
    assert distance(small, image, np.linalg.inv(transform)) < 1


@pytest.mark.parametrize("parts", [12, 40])
def test_elongated_images_are_compared_part_by_part(parts):
    image = np.concatenate([textured_image(seed, 200, 240) for seed in range(parts)], axis=1)
    small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    transform = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]])
    assert distance(image, small, transform) < 1
    small[:, 240:600] = np.roll(small[:, 240:600], 50, axis=0)
    assert distance(image, small, transform) > 1


@pytest.mark.parametrize("seed", range(3))
def test_a_scene_with_depth_seen_from_elsewhere_is_no_copy(seed):
    """The near half moves by two pixels against the far half, under an optimal alignment of either."""
    image = photograph(seed)
    other = image.copy()
    for top in range(0, 400, 80):
        other[top : top + 40] = np.roll(image[top : top + 40], 3, axis=1)
    assert distance(image, other) > 1


@pytest.mark.parametrize("seed", range(3))
def test_another_document_of_the_same_layout_is_no_copy(seed):
    one, other = document(seed), document(seed + 100)
    sides = [(image, (500, 700)) for image in (one, other)]
    measures = measure(finest(*sides, SAME))
    assert measures.document
    assert measures.distance > 1


@pytest.mark.parametrize("edit", [jpeg, lambda page: (page * 0.8 + 10).astype(np.uint8)])
def test_a_copy_of_a_document_is_a_copy(edit):
    page = document(1)
    assert distance(page, edit(page)) < 1


def test_other_content_in_a_part_is_no_copy():
    image, other = photograph(6), photograph(7)
    mixed = image.copy()
    mixed[100:300, 100:400] = other[100:300, 100:400]
    assert distance(image, mixed) > 1


def test_images_that_hardly_overlap_cannot_be_measured():
    image = photograph(8)
    away = np.array([[1.0, 0, 495], [0, 1, 395], [0, 0, 1]])
    assert not list(registrations((image, (500, 400)), (image, (500, 400)), away))


def test_flat_images_have_no_measures_that_speak_against_a_copy():
    flat = np.full((200, 300, 3), 90, np.uint8)
    assert distance(flat, flat) == 0


def compared(query, candidate, transform):
    return compare((query, (500, 400)), (candidate, (500, 400)), transform)


def test_clearly_different_photographs_are_not_aligned_further(monkeypatch):
    one, other = photograph(9), photograph(10)
    ends = list(registrations((one, (500, 400)), (other, (500, 400)), SAME, side=256))
    assert len(ends) == 2
    monkeypatch.setattr(copy_check, "measure", lambda pair: pytest.fail("aligned further"))
    assert compared(one, other, SAME).distance > 1


@pytest.mark.parametrize("shift", [0, 4, 8])
def test_a_coarse_transform_does_not_make_a_copy_another_picture(shift):
    """The coarse alignment brings a copy near enough even from several pixels away."""
    image = photograph(11)
    away = np.array([[1.0, 0, shift], [0, 1, -shift], [0, 0, 1]])
    assert compared(image, jpeg(image), away).distance < 1
