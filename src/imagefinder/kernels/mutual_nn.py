"""Mutual nearest neighbours between two sets of descriptors.

Descriptor i of the query and j of the candidate are *mutual nearest neighbours* when, in the matrix of their
dot products, j is the best column of row i and i is the best row of column j; among equals the lowest index
is the best. The similarity of two images is the number of such pairs.

``uint8`` products are exact integers. ``float32`` products are computed in float32; candidates that differ by
less than its rounding may be told apart differently by different matrix libraries.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Descriptors: TypeAlias = NDArray[np.uint8] | NDArray[np.float32]


def count(query: Descriptors, gallery: Descriptors, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of mutual nearest neighbours of a query with each image of a gallery.

    Args:
        query: ``(n, D)`` uint8 or float32; ``n`` may be 0.
        gallery: ``(N, D)`` of the same type: the descriptors of all images, one after the other.
        offsets: ``(B + 1,)`` int64: image ``b`` owns the rows ``offsets[b]:offsets[b + 1]``, possibly none.

    Returns:
        ``(B,)`` int64, each between 0 and ``min(n, rows of the image)``; 0 where either side is empty.

    Raises:
        ValueError: other types or shapes.
    """
    _check(query, gallery)
    counts = np.zeros(len(offsets) - 1, dtype=np.int64)
    if len(query) == 0:
        return counts
    prepared = _real(query)
    numbers = np.arange(len(query))
    # One scratch for all images: fresh pages for every product would cost more than the product.
    most = int(np.diff(offsets).max(initial=0))
    rows_scratch = np.empty((most, query.shape[1]), dtype=prepared.dtype)
    products_scratch = np.empty(len(query) * most, dtype=prepared.dtype)
    for b in range(len(counts)):
        size = int(offsets[b + 1] - offsets[b])
        if size:
            rows = rows_scratch[:size]
            np.copyto(rows, gallery[offsets[b] : offsets[b + 1]])
            products = products_scratch[: len(query) * size].reshape(len(query), size)
            np.matmul(prepared, rows.T, out=products)
            counts[b] = np.count_nonzero(products.argmax(axis=0)[products.argmax(axis=1)] == numbers)
    return counts


def pairs(query: Descriptors, candidate: Descriptors) -> NDArray[np.int64]:
    """The mutual nearest neighbours of two images.

    Args:
        query: ``(n, D)`` uint8 or float32; ``n`` may be 0.
        candidate: ``(m, D)`` of the same type; ``m`` may be 0.

    Returns:
        ``(M, 2)`` int64 rows (query index, candidate index), rising in the first; ``M`` is what ``count`` gives.

    Raises:
        ValueError: other types or shapes.
    """
    _check(query, candidate)
    if len(query) == 0 or len(candidate) == 0:
        return np.empty((0, 2), dtype=np.int64)
    prepared = _real(query)
    products = prepared @ candidate.astype(prepared.dtype, copy=False).T
    best_column, best_row = products.argmax(axis=1), products.argmax(axis=0)
    mutual = np.flatnonzero(best_row[best_column] == np.arange(len(query)))
    return np.stack([mutual, best_column[mutual]], axis=1).astype(np.int64)


def _check(query: Descriptors, gallery: Descriptors) -> None:
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise ValueError(f"descriptors of one length are needed, not {query.shape} and {gallery.shape}")
    if query.dtype != gallery.dtype or query.dtype not in (np.uint8, np.float32):
        raise ValueError(f"descriptors must both be uint8 or float32, not {query.dtype}, {gallery.dtype}")


def _real(descriptors: Descriptors) -> NDArray[Any]:
    """As a type whose matrix product is fast and, for uint8, still exact.

    A product is at most D x 255^2. float32 holds every integer up to 2^24 exactly, float64 up to 2^53.
    """
    if descriptors.dtype == np.float32:
        return descriptors
    return descriptors.astype(np.float32 if descriptors.shape[1] * 255**2 <= 2**24 else np.float64)
