import math

import numpy as np
import pytest

from imagefinder.core.errors import InputError
from imagefinder.core.query import MAX_BOXES, Query, SearchOptions


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
