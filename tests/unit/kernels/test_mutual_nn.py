import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imagefinder.kernels import mutual_nn


def slow_pairs(query, candidate):
    """The definition, one number at a time, in Python's unbounded integers."""
    a, b = [[int(v) for v in row] for row in query], [[int(v) for v in row] for row in candidate]
    products = [[sum(x * y for x, y in zip(p, q, strict=True)) for q in b] for p in a]
    found = []
    for i in range(len(a)):
        for j in range(len(b)):
            row, column = products[i], [products[r][j] for r in range(len(a))]
            if row.index(max(row)) == j and column.index(max(column)) == i:
                found.append((i, j))
    return found


def sets(dim, values, most):
    return st.integers(0, most).flatmap(lambda rows: arrays(np.uint8, (rows, dim), elements=values))


@st.composite
def ragged(draw, *, dim=3, values=None, query_most=8, candidate_most=8):
    values = st.integers(0, 3) if values is None else values
    query = draw(sets(dim, values, query_most))
    images = draw(st.lists(sets(dim, values, candidate_most), max_size=5))
    offsets = np.cumsum([0, *(len(image) for image in images)], dtype=np.int64)
    return query, np.concatenate([np.empty((0, dim), np.uint8), *images]), offsets


def check(query, gallery, offsets):
    counts = mutual_nn.count(query, gallery, offsets)
    for b, count in enumerate(counts):
        candidate = gallery[offsets[b] : offsets[b + 1]]
        expected = slow_pairs(query, candidate)
        assert [tuple(pair) for pair in mutual_nn.pairs(query, candidate)] == expected
        assert count == len(expected)


@given(ragged())
def test_equals_the_definition_with_many_ties(case):
    check(*case)


@given(ragged(dim=2, values=st.sampled_from([0, 255])))
def test_equals_the_definition_on_extreme_values(case):
    check(*case)


@given(ragged(values=st.integers(0, 255), query_most=1))
def test_one_query_descriptor(case):
    check(*case)


@settings(max_examples=20)
@given(ragged(values=st.integers(0, 255), query_most=60, candidate_most=2))
def test_many_against_few(case):
    check(*case)


@settings(max_examples=20)
@given(ragged(values=st.integers(0, 255), query_most=2, candidate_most=60))
def test_few_against_many(case):
    check(*case)


@given(ragged(values=st.integers(0, 3)))
def test_floats_follow_the_same_definition(case):
    query, gallery, offsets = case
    as_integers = mutual_nn.count(query, gallery, offsets)
    as_floats = mutual_nn.count(query.astype(np.float32), gallery.astype(np.float32), offsets)
    np.testing.assert_array_equal(as_floats, as_integers)


@pytest.mark.parametrize("dim", [128, 258, 259, 1000])
def test_products_stay_exact_at_any_length(dim):
    # Two candidates whose products differ by one unit in the last place, at the largest values there are.
    best = np.full((1, dim), 255, dtype=np.uint8)
    nearly = best.copy()
    nearly[0, 0] = 254
    query = best.copy()
    query[0, 0] = 1
    candidates = np.concatenate([nearly, best])
    assert slow_pairs(query, candidates) == [(0, 1)]
    assert mutual_nn.pairs(query, candidates).tolist() == [[0, 1]]


def test_duplicates_pair_with_the_first_only():
    rows = np.array([[1, 2], [1, 2], [1, 2]], dtype=np.uint8)
    assert mutual_nn.pairs(rows, rows).tolist() == [[0, 0]]


def test_an_image_against_itself_pairs_every_distinct_unit_descriptor():
    rows = (np.eye(16) * 200).astype(np.uint8)
    assert mutual_nn.count(rows, rows, np.array([0, 16])).tolist() == [16]


def test_empty_sides():
    none, some = np.empty((0, 4), np.uint8), np.ones((3, 4), np.uint8)
    assert mutual_nn.count(none, some, np.array([0, 3, 3])).tolist() == [0, 0]
    assert mutual_nn.count(some, none, np.array([0, 0])).tolist() == [0]
    assert mutual_nn.count(some, none, np.array([0])).tolist() == []
    assert mutual_nn.pairs(none, some).shape == (0, 2)
    assert mutual_nn.pairs(some, none).shape == (0, 2)


@pytest.mark.parametrize(
    ("query", "gallery"),
    [
        (np.ones((2, 3), np.uint8), np.ones((2, 4), np.uint8)),
        (np.ones((2, 3), np.uint8), np.ones((2, 3), np.float32)),
        (np.ones((2, 3), np.float64), np.ones((2, 3), np.float64)),
        (np.ones(3, np.uint8), np.ones((2, 3), np.uint8)),
    ],
)
def test_wrong_arrays_are_refused(query, gallery):
    with pytest.raises(ValueError, match="descriptors"):
        mutual_nn.pairs(query, gallery)
    with pytest.raises(ValueError, match="descriptors"):
        mutual_nn.count(query, gallery, np.array([0, 2]))
