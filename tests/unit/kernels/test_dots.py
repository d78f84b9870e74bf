"""The native kernel and NumPy, compared with Python's unbounded integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagefinder.kernels import dots as module
from imagefinder.kernels import mutual_nn
from imagefinder.kernels.dots import dots

try:
    from imagefinder.kernels import _native
except ImportError:
    _native = None


def slow(rows, begins, ends, vector):
    return [
        sum(int(x) * int(y) for x, y in zip(rows[r], vector, strict=True))
        for a, b in zip(begins, ends, strict=True)
        for r in range(a, b)
    ]


def everywhere(rows, begins, ends, vector):
    yield dots(rows, begins, ends, vector).tolist()
    yield module._dots_numpy(rows, begins, ends, vector).tolist()
    if _native:
        for plain in (False, True):
            products = np.full(int((ends - begins).sum()), -1, np.int32)
            _native.dots(rows, begins, ends, vector, products, plain)
            yield products.tolist()


@given(st.integers(0, 2**32 - 1), st.integers(0, 70), st.integers(0, 30), st.integers(0, 4))
@settings(deadline=None)
def test_equals_the_definition(seed, length, many, ranges):
    rng = np.random.default_rng(seed)
    rows = rng.integers(-128, 128, (many, length)).astype(np.int8)
    vector = rng.integers(-32767, 32768, length).astype(np.int16)
    ends = np.sort(rng.integers(0, many + 1, (ranges, 2)), axis=1)
    for found in everywhere(rows, ends[:, 0].copy(), ends[:, 1].copy(), vector):
        assert found == slow(rows, ends[:, 0], ends[:, 1], vector)


@pytest.mark.parametrize("byte", [-128, 127])
@pytest.mark.parametrize("number", [-32767, 32767])
def test_the_largest_products_there_are(byte, number):
    rows, vector = np.full((3, 512), byte, np.int8), np.full(512, number, np.int16)
    for found in everywhere(rows, np.array([0]), np.array([3]), vector):
        assert found == [512 * byte * number] * 3


def test_inconsistent_arrays_are_rejected():
    rows, vector, zero, one = np.ones((2, 4), np.int8), np.ones(4, np.int16), np.array([0]), np.array([1])
    assert dots(rows, zero, one, vector).tolist() == [4]
    for wrong in (
        (rows, zero, np.array([3]), vector),
        (rows, np.array([-1]), one, vector),
        (rows, one, zero, vector),
        (rows, zero, np.array([1, 2]), vector),
        (rows, zero, one, vector[:3]),
        (np.ones((1, 513), np.int8), zero, one, np.ones(513, np.int16)),
    ):
        with pytest.raises(ValueError, match=r"ranges|rows"):
            dots(*wrong)
        if _native:
            with pytest.raises(ValueError, match="belong together"):
                _native.dots(*wrong[:3], wrong[3], np.zeros(9, np.int32))


@pytest.mark.skipif(mutual_nn.backend() == "numpy", reason="built without a compiler")
@pytest.mark.parametrize("place", range(5))
def test_arrays_of_another_dtype_are_rejected(place):
    arrays = [
        np.ones((2, 4), np.int8),
        np.array([0]),
        np.array([1]),
        np.ones(4, np.int16),
        np.zeros(1, np.int32),
    ]
    _native.dots(*arrays)
    arrays[place] = arrays[place].astype(np.float32)
    with pytest.raises(ValueError, match="must be of the right integer type"):
        _native.dots(*arrays)
