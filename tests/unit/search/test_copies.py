"""The copy check of pairs: documents in full resolution, both orders of a pair, and what it may not say."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from forms import form
from runtimes import runtime

from imagefinder.core.results import LOOKS_THE_SAME
from imagefinder.core.settings import Settings
from imagefinder.core.stopwatch import Stopwatch
from imagefinder.images.decoding.decode import decode_thumbnail
from imagefinder.images.resize import thumbnail
from imagefinder.search.compare import compare
from imagefinder.search.copies import Side, settle
from imagefinder.search.encoding import query_image
from imagefinder.search.verification import whole_image
from imagefinder.testing.extractors import textured_image
from imagefinder.wiring import load_method

SETTINGS = Settings(threads=1)
COUNTERPARTS = {"part of": "contains", "contains": "part of"}


def photograph(seed):
    return cv2.GaussianBlur(textured_image(seed, 400, 500), (0, 0), 1.5)


def jpeg(image, quality=70):
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def captioned(image):
    image = image.copy()
    cv2.putText(image, "ANY CAPTION", (30, 380), cv2.FONT_HERSHEY_SIMPLEX, 2, (255, 255, 255), 5)
    return image


def stored(image, original):
    """An image of which the thumbnail is in memory, and perhaps the original on disk."""
    pixels = decode_thumbnail(thumbnail(image))
    return Side(pixels, (image.shape[1], image.shape[0]), lambda: image if original else None)


def settled(one, other, originals=(True, True), relation="edited copy"):
    sides = [stored(image, original) for image, original in zip((one, other), originals, strict=True)]
    evidence = replace(whole_image(sides[0].size, sides[1].size, mirrored=False), inliers=50, agreement=0.9)
    return settle(relation, evidence, *sides)


@pytest.mark.parametrize("names", [20, 2])
def test_another_form_has_the_same_layout(names):
    found = settled(form(1, names), form(2, names))
    assert (found.relation, found.note) == ("same layout", "")
    assert found.evidence.copy_distance > 1


def test_a_copy_of_a_form_is_an_edited_copy():
    found = settled(form(1), jpeg(form(1)))
    assert (found.relation, found.note) == ("edited copy", "")
    assert found.evidence.copy_distance <= 1


@pytest.mark.parametrize("originals", [(True, False), (False, True), (False, False)])
def test_without_both_originals_a_document_is_not_called_a_copy(originals):
    found = settled(form(1), jpeg(form(1)), originals)
    assert (found.relation, found.note) == ("same layout", LOOKS_THE_SAME)


def test_a_document_too_small_to_read_is_not_called_a_copy():
    found = settled(form(1), form(1, height=400))
    assert (found.relation, found.note) == ("same layout", LOOKS_THE_SAME)


def test_photographs_need_no_originals():
    assert settled(photograph(1), jpeg(photograph(1)), (False, False)).relation == "edited copy"


def test_without_pixels_nothing_is_called_a_copy():
    empty = np.empty((0, 0, 3), np.uint8)
    evidence = replace(whole_image((500, 400), (500, 400), mirrored=False), inliers=50, agreement=0.9)
    sides = Side(empty, (500, 400), lambda: None), stored(photograph(1), original=False)
    found = settle("edited copy", evidence, *sides)
    assert (found.relation, found.evidence.copy_distance) == ("same scene", None)


def test_a_weak_relation_stays_weak_if_the_images_differ():
    assert settled(photograph(1), photograph(2), relation=None).relation is None
    assert settled(photograph(1), photograph(2)).relation == "same scene"


@pytest.mark.parametrize("edit", [captioned, jpeg, lambda image: jpeg(image[40:360, 60:460])])
def test_the_order_of_two_images_does_not_matter(edit):
    sift, parts = load_method("sift", SETTINGS), runtime(SETTINGS)
    image = photograph(3)
    pairs = (image, edit(image)), (edit(image), image)
    there, back = (
        compare(
            parts,
            sift,
            query_image(np.ascontiguousarray(a)),
            query_image(np.ascontiguousarray(b)),
            watch=Stopwatch(),
        )
        for a, b in pairs
    )
    assert there.relation in {"edited copy", "contains"}
    assert back.relation == COUNTERPARTS.get(there.relation, there.relation)
