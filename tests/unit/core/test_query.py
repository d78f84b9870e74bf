import math

import numpy as np
import pytest

from imagefinder.core.errors import BoxError, InputError
from imagefinder.core.query import MAX_BOXES, Query, SearchOptions, check_box


@pytest.mark.parametrize("fields", [{}, {"image": b"x", "id": "a"}, {"image": np.zeros((1, 1, 3)), "id": "a"}])
def test_a_query_needs_exactly_one_of_image_and_id(fields):
    with pytest.raises(InputError, match="exactly one"):
        Query(**fields)


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
