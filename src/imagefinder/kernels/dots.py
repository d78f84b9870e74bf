"""Dot products of vectors in bytes with a query in int16: what an inverted file asks of the cells it looks at.

All arithmetic is in integers, and the native kernel gives exactly what NumPy gives.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imagefinder.kernels.mutual_nn import backend

LONGEST = 512
"""Of longer rows a product of 128 x 32768 in each place would not fit into an int32."""


def dots(
    rows: NDArray[np.int8], begins: NDArray[np.int64], ends: NDArray[np.int64], vector: NDArray[np.int16]
) -> NDArray[np.int32]:
    """The products of some rows with one vector.

    Other Python threads run meanwhile.

    Args:
        rows: ``(P, D)``, C-contiguous; ``D`` is at most ``LONGEST``.
        begins: ``(R,)``, first rows of the ranges that are asked.
        ends: ``(R,)``, the rows behind their last ones.
        vector: ``(D,)``, from -32767 to 32767.

    Returns:
        One for each row of the ranges, range by range.

    Raises:
        ValueError: shapes or types do not belong together, rows are too long, ranges leave the rows.
    """
    if rows.ndim != 2 or rows.shape[1] != len(vector) or len(vector) > LONGEST:
        raise ValueError(f"rows of at most {LONGEST} elements, as many as the vector has, are needed")
    if len(begins) != len(ends) or (begins < 0).any() or (begins > ends).any() or (ends > len(rows)).any():
        raise ValueError("ranges must lie within the rows")
    if backend() == "numpy":
        return _dots_numpy(rows, begins, ends, vector)
    from imagefinder.kernels import _native  # noqa: PLC0415 - not there without a compiler

    products = np.empty(int((ends - begins).sum()), dtype=np.int32)
    _native.dots(rows, begins, ends, vector, products)
    return products


def _dots_numpy(
    rows: NDArray[np.int8], begins: NDArray[np.int64], ends: NDArray[np.int64], vector: NDArray[np.int16]
) -> NDArray[np.int32]:
    # float64 holds all of these integers, and its product is the fast one.
    query = vector.astype(np.float64)
    parts = [rows[a:b].astype(np.float64) @ query for a, b in zip(begins.tolist(), ends.tolist(), strict=True)]
    return np.concatenate([np.empty(0), *parts]).astype(np.int32)
