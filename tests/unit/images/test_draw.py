import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from imagefinder.core.results import Evidence, Explanation
from imagefinder.images import draw

FRAME = ((-0.5, -0.5), (399.5, -0.5), (399.5, 299.5), (-0.5, 299.5))
EVIDENCE = Evidence(
    inliers=30,
    matches=90,
    model="similarity",
    transform=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    mirrored=False,
    query_outline=((100.0, 80.0), (300.0, 80.0), (300.0, 220.0), (100.0, 220.0)),
    candidate_outline=FRAME,
    query_overlap=0.25,
    candidate_overlap=1.0,
)
PLACES = tuple(((120.0 + 5 * i, 100.0 + 3 * i), (50.0 + 9 * i, 40.0 + 6 * i)) for i in range(30))
EXPLANATION = Explanation("a/b.jpg", "sift", "0" * 12, 90.0, EVIDENCE, 90, PLACES, (400, 300), (400, 300))
WHITE, GREY = np.full((300, 400, 3), 255, np.uint8), np.full((300, 400, 3), 128, np.uint8)


def drawn(explanation, query=WHITE, candidate=GREY):
    with Image.open(io.BytesIO(draw.side_by_side(query, candidate, explanation))) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"), dtype=int)


def coloured(page):
    return np.ptp(page, axis=2) > 60


def test_both_pictures_lines_and_outlines_are_there():
    page = drawn(EXPLANATION)
    assert page.shape[1] > 2 * page.shape[0] * 0.8
    assert ((page == 128).all(axis=2)).mean() > 0.3
    left, right = np.array_split(coloured(page), 2, axis=1)
    assert left.any()
    assert right.any()
    middle = page.shape[1] // 2
    assert coloured(page)[:, middle - 3 : middle + 3].any()  # lines cross the gap


def test_without_evidence_nothing_is_drawn_but_the_pictures():
    page = drawn(replace(EXPLANATION, evidence=None, inliers=()))
    assert not coloured(page).any()


def test_a_thumbnail_is_scaled_to_the_picture_it_stands_for():
    assert drawn(EXPLANATION, candidate=GREY[:75, :100]).shape == drawn(EXPLANATION).shape


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000), (5000, 4000)])
def test_pictures_of_any_shape(size):
    page = drawn(replace(EXPLANATION, candidate_size=size), candidate=np.zeros((2, 2, 3), np.uint8))
    assert page.shape[0] < 800
    assert page.shape[1] < 2200


def test_a_long_name_is_shortened_and_odd_characters_do_no_harm():
    page = drawn(replace(EXPLANATION, id="a\nb\x1b\u202e" + "long" * 100 + ".jpg"))
    assert page.shape == drawn(EXPLANATION).shape


def test_many_inliers_do_not_hide_the_pictures():
    many = replace(EXPLANATION, inliers=PLACES * 40)
    assert coloured(drawn(many)).mean() < 0.5
