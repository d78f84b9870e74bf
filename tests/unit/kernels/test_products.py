"""Matrix products in one thread."""

from __future__ import annotations

import numpy as np
import pytest

from imagefinder.kernels.products import product


@pytest.mark.parametrize(
    "shape", [(0, 4, 3), (1, 1, 1), (1, 1280, 257), (9, 300, 1), (700, 128, 64), (3, 70_000, 5)]
)
def test_equals_the_product_in_double_precision(shape):
    count, depth, width = shape
    random = np.random.default_rng(1)
    left = random.standard_normal((count, depth)).astype(np.float32)
    right = random.standard_normal((depth, width)).astype(np.float32)
    found = product(left, right)
    assert found.shape == (count, width)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, left.astype(np.float64) @ right, atol=1e-5 * depth**0.5 * 4)


def test_transposed_and_strided_operands():
    random = np.random.default_rng(2)
    left, right = random.standard_normal((2, 40, 60)).astype(np.float32)
    np.testing.assert_allclose(product(left[::2], right.T[:, ::3]), left[::2] @ right.T[:, ::3], atol=1e-4)
