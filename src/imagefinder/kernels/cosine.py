"""Cosine similarity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def cosine(query: NDArray[np.float32], gallery: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine similarity between the query and each gallery vector.

    Args:
        query: ``(D,)`` float32.
        gallery: ``(B, D)`` float32.

    Returns:
        ``(B,)`` float64 in [-1, 1], up to float32 rounding; 0 if either vector is zero.
    """
    # Not the product of BLAS: its threads keep spinning after such a short call, which costs more than the call.
    dots = np.einsum("bd,d->b", gallery, query).astype(np.float64)
    norms = np.sqrt(np.einsum("bd,bd->b", gallery, gallery, dtype=np.float64))
    norms *= np.sqrt(np.dot(query.astype(np.float64), query))
    scores: NDArray[np.float64] = np.divide(dots, norms, out=np.zeros_like(dots), where=norms > 0)
    return scores
