"""Map samples of more than 8 bits, and floats, to 8 bits.

Integers are scaled by their range: the declared one (MaxSampleValue), else 8, 10, 12, 14 or 16 bits, or all bits
of the type, whichever is the first to contain the largest value. 12-bit images are often stored in 16 bits and
would be nearly black otherwise. Floats are scaled from 0 to the first of 1, 255 and 65535 to contain them. Values
that use less than a quarter of such a range, and values below zero, are stretched from the smallest to the
largest value instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_DEPTHS = (8, 10, 12, 14, 16)
_FLOAT_RANGES = (1.0, 255.0, 65535.0)
_BLOCK = 1 << 22  # values converted at once


def to_8_bit(values: NDArray[Any], *, declared: int = 0) -> NDArray[np.uint8]:
    """Map the values of an image to 0 to 255.

    Args:
        values: Integers or floats of any shape; values that are not finite become the nearest finite one, NaN the
            smallest.
        declared: Largest value that the file declares; ignored if 0 or if a value exceeds it.

    Returns:
        The same shape.
    """
    if values.dtype == np.uint8 and not 0 < declared < 255:
        return values
    low, high = value_range(values, declared=declared)
    if values.dtype == np.uint16:
        table = _scaled(np.arange(65536), low, high)
        return np.take(table, values)
    out = np.empty(values.shape, np.uint8)
    flat, target = values.reshape(-1), out.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        target[start : start + _BLOCK] = _scaled(flat[start : start + _BLOCK], low, high)
    return out


def value_range(values: NDArray[Any], *, declared: int = 0) -> tuple[float, float]:
    """The values that become 0 and 255."""
    smallest, largest = _extremes(values)
    if smallest >= 0 and np.issubdtype(values.dtype, np.integer):
        if largest <= declared:
            return 0.0, float(declared)
        own = np.iinfo(values.dtype).bits - int(np.issubdtype(values.dtype, np.signedinteger))
        for bits in (*(depth for depth in _DEPTHS if depth < own), own):
            full = float((1 << bits) - 1)
            if largest <= full:
                # Up to 8 bits: like an image of 8 bits, however dark it is.
                return (0.0, full) if bits == 8 or largest > full / 4 else (smallest, largest)
    elif smallest >= 0:
        full = next((full for full in _FLOAT_RANGES if largest <= full), 0.0)
        if largest > full / 4 and full:
            return 0.0, full
    return smallest, largest


def _extremes(values: NDArray[Any]) -> tuple[float, float]:
    """The smallest and largest finite value; zeros if there are none."""
    if values.size == 0:
        return 0.0, 0.0
    if np.issubdtype(values.dtype, np.integer):
        return float(values.min()), float(values.max())
    low, high = np.inf, -np.inf
    flat = values.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        block = block[np.isfinite(block)]
        if block.size:
            low, high = min(low, float(block.min())), max(high, float(block.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def _scaled(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    with np.errstate(all="ignore"):  # signalling NaNs
        exact = np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low)
    # Halves, because the difference of the largest floats overflows.
    half = high / 2 - low / 2
    if half <= 0:
        return np.zeros(values.shape, np.uint8)
    return np.clip(np.rint((exact / 2 - low / 2) / half * 255), 0, 255).astype(np.uint8)
