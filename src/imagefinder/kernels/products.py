"""Matrix products of float32 values in one thread."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SMALL, _FEWEST_ROWS = 1 << 18, 8
"""Number of multiplications up to which OpenBLAS computes a product in one thread, and rows for each of them."""


def product(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """The matrix product, in parts so small that BLAS computes each in one thread.

    The threads of BLAS wait for each other and keep spinning after the product, which takes up to 90 times as long
    as a product of this size.

    Args:
        left: ``(N, D)`` float32.
        right: ``(D, M)`` float32.

    Returns:
        ``(N, M)`` float32.
    """
    (count, depth), width = left.shape, right.shape[1]
    rows = max(_FEWEST_ROWS, _SMALL // (depth * width))
    part = max(1, _SMALL // (rows * width))
    padded = np.zeros((-(-count // rows), rows, depth), dtype=np.float32)
    padded.reshape(-1, depth)[:count] = left
    found = np.zeros((len(padded), rows, width), dtype=np.float32)
    for begin in range(0, depth, part):
        found += padded[:, :, begin : begin + part] @ right[begin : begin + part]
    return found.reshape(-1, width)[:count]
