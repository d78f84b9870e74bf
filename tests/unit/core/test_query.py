import math

import numpy as np
import pytest

from imagefinder.core.errors import BoxError, InputError
from imagefinder.core.query import MAX_BOXES, MAX_TEXT, Query, SearchOptions, check_box


@pytest.mark.parametrize(
    "fields", [{"image": b"x", "id": "a"}, {"image": np.zeros((1, 1, 3)), "id": "a", "text": "cup"}]
)
def test_a_query_has_at_most_one_of_image_and_id(fields):
    with pytest.raises(InputError, match="exactly one"):
        Query(**fields)


@pytest.mark.parametrize("fields", [{}, {"text": ""}, {"text": "  "}])
def test_a_query_needs_an_image_or_a_text(fields):
    with pytest.raises(InputError, match="a query image, an id or a text"):
        Query(**fields)


def test_a_text_may_be_alone_or_with_an_image():
    assert not Query(text="coffee cup").has_image
    assert Query(b"x", text="coffee cup").has_image
    assert Query(id="a", text="coffee cup", boxes=((0, 0, 9, 9),)).has_image


def test_boxes_need_an_image():
    with pytest.raises(InputError, match="regions of a query image"):
        Query(text="coffee cup", boxes=((0, 0, 9, 9),))


def test_the_length_of_a_text_is_limited():
    Query(text="x" * MAX_TEXT)
    with pytest.raises(InputError, match=f"at most {MAX_TEXT} characters"):
        Query(text="x" * (MAX_TEXT + 1))


def test_the_number_of_boxes_is_limited():
    Query(b"x", boxes=((0, 0, 9, 9),) * MAX_BOXES)
    with pytest.raises(InputError, match=f"at most {MAX_BOXES}"):
        Query(b"x", boxes=((0, 0, 9, 9),) * (MAX_BOXES + 1))


@pytest.mark.parametrize(
    "fields",
    [
        {"k": 0},
        {"k": -1},
        {"ranking": "best"},
        {"mode": "slow"},
        {"rerank_depth": 0},
        {"rerank_depth": 1001},
        {"min_score": math.nan},
        {"max_evalue": math.nan},
    ],
)
def test_invalid_options_are_rejected_by_name(fields):
    (name,) = fields
    with pytest.raises(InputError, match=name):
        SearchOptions(**fields)


@pytest.mark.parametrize(
    "box",
    [
        (),
        (1, 2, 3),
        (1, 2, 3, 4, 5),
        None,
        "1,2,3,4",
        ("a", 0, 1, 1),
        (0, 0, 0, 1),
        (0, 0, 1, -0.0),
        (0, 0, math.nan, 1),
        (math.inf, 0, 1, 1),
        (0, -math.inf, 1, 1),
        (1e308, 0, 1e308, 1),
        (10**400, 0, 1, 1),
        (0, 0, 10**400, 1),
    ],
)
def test_invalid_boxes_are_rejected(box):
    for check in (check_box, lambda box: Query(b"x", boxes=(box,))):
        with pytest.raises(BoxError, match="x, y, width, height"):
            check(box)


def test_boxes_up_to_the_limit_are_accepted():
    for box in ((0, 0, 1, 1), (-5.5, 2, 0.1, 1e9), (-1e9, 1e9, 1e9, 1e9)):
        assert check_box(box) == box


@pytest.mark.parametrize("value", [10**400, -(10**400), "x"])
def test_options_that_are_no_number_are_rejected(value):
    for name in ("min_score", "max_evalue"):
        with pytest.raises(InputError, match=f"{name} must be a number"):
            SearchOptions(**{name: value})
