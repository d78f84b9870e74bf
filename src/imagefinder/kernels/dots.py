"""Dot products of int8 rows with an int16 query, for scoring the cells of an inverted file.

All arithmetic is in integers, so the native kernel and NumPy give identical results.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imagefinder.kernels.mutual_nn import backend

LONGEST = 512
"""Maximum row length: with longer rows, products of up to 128 x 32768 would overflow an int32 sum."""


def dots(
    rows: NDArray[np.int8], begins: NDArray[np.int64], ends: NDArray[np.int64], vector: NDArray[np.int16]
) -> NDArray[np.int32]:
    """Dot products of ranges of rows with one vector; releases the GIL.

    Args:
        rows: ``(P, D)`` int8, C-contiguous; ``D`` is at most ``LONGEST``.
        begins: ``(R,)`` int64, first row of each range.
        ends: ``(R,)`` int64, end of each range (exclusive).
        vector: ``(D,)`` int16, from -32767 to 32767.

    Returns:
        ``(sum of the range lengths,)`` int32, one product for each row of the ranges, range by range.

    Raises:
        ValueError: shapes or dtypes do not match, rows are too long, or ranges lie outside the rows.
    """
    if rows.ndim != 2 or rows.shape[1] != len(vector) or len(vector) > LONGEST:
        raise ValueError(f"rows must have at most {LONGEST} elements, as many as the vector")
    if len(begins) != len(ends) or (begins < 0).any() or (begins > ends).any() or (ends > len(rows)).any():
        raise ValueError("ranges must lie within the rows")
    if backend() == "numpy":
        return _dots_numpy(rows, begins, ends, vector)
    from imagefinder.kernels import _native  # noqa: PLC0415 - missing if built without a compiler

    products = np.empty(int((ends - begins).sum()), dtype=np.int32)
    _native.dots(rows, begins, ends, vector, products)
    return products


def _dots_numpy(
    rows: NDArray[np.int8], begins: NDArray[np.int64], ends: NDArray[np.int64], vector: NDArray[np.int16]
) -> NDArray[np.int32]:
    # float64 represents all of these integers exactly, and its matrix product is fast.
    query = vector.astype(np.float64)
    parts = [rows[a:b].astype(np.float64) @ query for a, b in zip(begins.tolist(), ends.tolist(), strict=True)]
    return np.concatenate([np.empty(0), *parts]).astype(np.int32)
