from io import BytesIO
from random import Random

import numpy as np
import pytest
from PIL import Image

from imagefinder.evaluation.edits import EDITS, LARGEST, edited
from imagefinder.testing.extractors import textured_image

BY_NAME = {edit.name: edit for edit in EDITS}
IMAGE = textured_image(3)


def opened(name, *images, seed=0):
    return Image.open(BytesIO(edited(BY_NAME[name], images or (IMAGE,), Random(seed))))


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_the_same_seed_gives_the_same_bytes(edit):
    assert edited(edit, [IMAGE] * edit.images, Random(5)) == edited(edit, [IMAGE] * edit.images, Random(5))


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 400, 3), (120, 90, 3)])
def test_an_image_of_any_shape_can_be_edited(edit, shape):
    data = edited(edit, [np.full(shape, 90, dtype=np.uint8)], Random(1))
    assert Image.open(BytesIO(data)).mode == "RGB"


def test_names_are_unique():
    assert len(BY_NAME) == len(EDITS)


def test_the_edits():
    height, width = IMAGE.shape[:2]
    assert opened("crop to 25%").size == (round(width / 2), round(height / 2))
    assert opened("resize to 25%").size == (width // 4, height // 4)
    assert opened("rotate 90").size == (height, width)
    assert opened("rotate 180").size == (width, height)
    assert np.abs(np.asarray(opened("mirror")).astype(int) - IMAGE[:, ::-1]).mean() < 12
    red, green, blue = np.moveaxis(np.asarray(opened("gray")).astype(int), 2, 0)
    assert max(np.abs(red - green).max(), np.abs(green - blue).max()) <= 3
    screenshot = opened("screenshot")
    assert screenshot.width > width
    assert screenshot.height > height
    assert len(edited(BY_NAME["JPEG quality 10"], [IMAGE], Random(0))) < len(
        edited(BY_NAME["crop to 50%"], [IMAGE], Random(0))
    )


def test_a_collage_shows_all_its_images():
    colours = [np.full((100, 100, 3), colour, dtype=np.uint8) for colour in (0, 80, 160)]
    collage = np.asarray(opened("collage", *colours))
    fields = sorted(int(collage[y, x].mean().round()) for y in (30, 90) for x in (30, 90))
    assert fields == pytest.approx([0, 80, 160, 227], abs=2)  # 227: a field without an image


def test_large_images_are_reduced():
    assert max(opened("gray", np.zeros((40, 3000, 3), dtype=np.uint8)).size) == LARGEST
