"""Spherical k-means: cells of unit vectors, by direction.

Source: I. Dhillon, D. Modha, "Concept decompositions for large sparse text data using clustering", Machine
Learning 42, 2001.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imagefinder.kernels.products import product

_ROUNDS = 8
_DISTANCES = 1 << 24
"""Number of distances in memory at once."""

Vectors = NDArray[np.float32]


def train(directions: Vectors, many: int) -> Vectors:
    """Centres of about ``many`` cells, ``(C, D)`` float32 of length 1; deterministic for the same sample.

    Args:
        directions: ``(S, D)`` float32 of length 1; an empty sample gives one centre at the origin.
        many: Desired number of cells; there are never more than half as many as vectors.
    """
    if len(directions) == 0:
        return np.zeros_like(directions, shape=(1, directions.shape[1]))
    many = max(1, min(many, len(directions) // 2 or 1))
    centres = directions[np.random.default_rng(0).choice(len(directions), many, replace=False)]
    for _ in range(_ROUNDS):
        owner = nearest(directions, centres)
        order = np.argsort(owner, kind="stable")
        counts = np.bincount(owner, minlength=many)
        filled = np.flatnonzero(counts)
        starts = (np.cumsum(counts) - counts)[filled]
        centres = centres.copy()
        centres[filled] = np.add.reduceat(directions[order], starts, axis=0) / counts[filled, None]
        # Otherwise, centres of dissimilar vectors would be short, and near to all short vectors.
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    return centres.astype(np.float32)


def nearest(vectors: Vectors, centres: Vectors) -> NDArray[np.int64]:
    """The cell of each vector, the one with the nearest centre by distance: ``(N,)`` int64."""
    found = np.empty(len(vectors), dtype=np.int64)
    halves = np.einsum("cd,cd->c", centres, centres) / 2
    step = max(1, _DISTANCES // len(centres))
    for begin in range(0, len(vectors), step):
        # The squared length of the vector is omitted, because it is the same for all centres.
        distances = product(vectors[begin : begin + step], centres.T)
        np.subtract(halves, distances, out=distances)
        found[begin : begin + step] = distances.argmin(axis=1)
    return found
