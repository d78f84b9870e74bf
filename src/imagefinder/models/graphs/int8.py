"""Products with constant matrices in 8-bit integers: ``precision=int8`` for transformers.

The matrix has one scale per column. The other factor is scaled at run time by its own minimum and maximum
(``DynamicQuantizeLinear``), taken over the whole batch: run images one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_LARGEST = 63
"""Largest integer of the constant matrix. Seven bits: without AVX-512 VNNI two products of 8 bits are added in 16
bits, and 255 x 127 x 2 does not fit. With seven the integers are the same on every processor."""


def quantize(matrix: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A float32 matrix as integers and one scale per column.

    Args:
        matrix: ``(inputs, outputs)`` float32.

    Returns:
        ``(inputs, outputs)`` int8 from -63 to 63, and ``(outputs,)`` float32; their product is near ``matrix``.
    """
    scale = np.maximum(np.abs(matrix).max(axis=0) / _LARGEST, np.finfo(np.float32).tiny).astype(np.float32)
    return np.rint(matrix / scale).astype(np.int8), scale
