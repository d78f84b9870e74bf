"""Mutual nearest neighbours between two sets of descriptors.

Descriptor i of the query and descriptor j of the candidate are *mutual nearest neighbours* if, in the matrix of
their dot products, j is the maximum of row i and i is the maximum of column j; ties are resolved to the lowest
index. The similarity of two images is the number of such pairs.

``uint8`` and ``int8`` products are exact integers. ``float32`` products are computed in float32 and must be
finite; products that differ by less than the rounding error may be ordered differently on other processors.

The native kernel in ``native/`` does the work, or NumPy if the package was built without a compiler.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imagefinder.kernels.threads import share

try:
    from imagefinder.kernels import _native
except ImportError:  # built without a compiler
    _HAS_NATIVE = False
else:
    _HAS_NATIVE = True

Descriptors: TypeAlias = NDArray[np.uint8] | NDArray[np.int8] | NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class NearCounts:
    """The mutual nearest neighbours between a query and each image of a gallery.

    Attributes:
        counts: ``(B,)`` int64, their numbers.
        near: ``(B,)`` int64, the numbers of those that are near, never greater.
        pairs: Image number -> its pairs, as ``pairs`` returns them; of the images whose pairs were kept.
    """

    counts: NDArray[np.int64]
    near: NDArray[np.int64]
    pairs: dict[int, NDArray[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class _Near:
    """The least product of a near pair, per query descriptor, and the number of pairs to keep."""

    least: NDArray[np.float64]
    room: int


@cache
def backend() -> str:
    """The backend: ``numpy``, or the native instruction set (``avx512vnni`` to ``portable``)."""
    if _HAS_NATIVE:
        return _native.supported()[0]
    logging.getLogger(__name__).warning(
        "the native kernel is missing, so matching runs on NumPy and is several times slower; "
        "install a C++17 compiler and reinstall imagefinder"
    )
    return "numpy"


def count(
    query: Descriptors, gallery: Descriptors, offsets: NDArray[np.int64], *, threads: int | None = None
) -> NDArray[np.int64]:
    """Number of mutual nearest neighbours between a query and each image of a gallery; releases the GIL.

    The native kernel reads the gallery in place. It needs memory for the packed query and, per thread, about 32
    KiB plus 4 bytes per descriptor of the largest image.

    Args:
        query: ``(n, D)`` uint8, int8 or float32, C-contiguous; ``n`` may be 0.
        gallery: ``(N, D)`` of the same dtype, C-contiguous: the concatenated descriptors of all images.
        offsets: ``(B + 1,)`` int64, non-decreasing: image ``b`` owns the rows ``offsets[b]:offsets[b + 1]``.
        threads: Maximum number of threads, at least 1; default: ``threads.share``. NumPy ignores it.

    Returns:
        ``(B,)`` int64, each between 0 and ``min(n, rows of the image)``; 0 if either side is empty.

    Raises:
        ValueError: a dtype, shape or memory layout is wrong, offsets decrease or lie outside the gallery, or
            ``threads`` is below 1.
    """
    return _counts(query, gallery, offsets, None, threads).counts


def count_near(
    query: Descriptors,
    gallery: Descriptors,
    offsets: NDArray[np.int64],
    *,
    nearness: float,
    room: int = 0,
    threads: int | None = None,
) -> NearCounts:
    """Number of mutual nearest neighbours, and of those that are near, which is rare by chance.

    Args:
        query: ``(n, D)``, as for ``count``.
        gallery: ``(N, D)``, as for ``count``.
        offsets: ``(B + 1,)``, as for ``count``.
        nearness: A pair is near if its product is at least this fraction of the product of the query descriptor
            with itself; for descriptors of equal length, this is the minimum cosine.
        room: Number of pairs to keep, of as many images as fit: 16 bytes each.
        threads: Maximum number of threads, as for ``count``.

    Raises:
        ValueError: as for ``count``.
    """
    least = nearness * np.einsum("nd,nd->n", query, query, dtype=np.float64)
    return _counts(query, gallery, offsets, _Near(least, room), threads)


def _counts(
    query: Descriptors,
    gallery: Descriptors,
    offsets: NDArray[np.int64],
    wanted: _Near | None,
    threads: int | None,
) -> NearCounts:
    _check(query, gallery)
    if offsets.ndim != 1 or offsets.dtype != np.int64 or len(offsets) == 0:
        raise ValueError(f"offsets must be (B + 1,) int64, not {offsets.shape} {offsets.dtype}")
    if offsets[0] < 0 or offsets[-1] > len(gallery) or (offsets[1:] < offsets[:-1]).any():
        raise ValueError(f"offsets must not decrease, and must end within the {len(gallery)} gallery descriptors")
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")
    if not _is_native(query):
        return _count_numpy(query, gallery, offsets, wanted)
    counts, near, begins = np.zeros((3, len(offsets) - 1), dtype=np.int64)
    offsets = np.ascontiguousarray(offsets)
    if wanted is None:
        _native.count(query, gallery, offsets, counts, threads or share())
        return NearCounts(counts, near, {})
    if not wanted.room:
        _native.count(query, gallery, offsets, counts, threads or share(), None, wanted.least, near)
        return NearCounts(counts, near, {})
    found = np.empty((min(wanted.room, len(gallery)), 2), dtype=np.int64)
    _native.count(query, gallery, offsets, counts, threads or share(), None, wanted.least, near, found, begins)
    kept = np.flatnonzero(begins >= 0)
    ends = begins + counts
    return NearCounts(counts, near, {b: found[begins[b] : ends[b]] for b in kept.tolist()})


def pairs(query: Descriptors, candidate: Descriptors) -> NDArray[np.int64]:
    """The mutual nearest neighbours of two images.

    Args:
        query: ``(n, D)`` uint8, int8 or float32, C-contiguous; ``n`` may be 0.
        candidate: ``(m, D)`` of the same dtype, C-contiguous; ``m`` may be 0.

    Returns:
        ``(M, 2)`` int64 pairs (query index, candidate index), ascending in the first; ``M`` is the result of
        ``count``.

    Raises:
        ValueError: a dtype, shape or memory layout is wrong.
    """
    return pairs_all(query, [candidate], threads=1)[0]


def pairs_all(
    query: Descriptors, candidates: Sequence[Descriptors], *, threads: int | None = None
) -> list[NDArray[np.int64]]:
    """The mutual nearest neighbours of a query and each candidate; the query is prepared once. Releases the GIL.

    Args:
        query: ``(n, D)``, as for ``pairs``.
        candidates: Each ``(m, D)``, as for ``pairs``.
        threads: Maximum number of threads, as for ``count``.

    Returns:
        For each candidate, the result of ``pairs``: views of one array.

    Raises:
        ValueError: as for ``pairs``, or ``threads`` is below 1.
    """
    for candidate in candidates:
        _check(query, candidate)
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")
    if not _is_native(query):
        return [_pairs_numpy(query, candidate) for candidate in candidates]
    most = [min(len(query), len(candidate)) for candidate in candidates]
    found = np.empty((sum(most), 2), dtype=np.int64)
    counts = np.empty(len(candidates), dtype=np.int64)
    _native.pairs(query, candidates, found, counts, threads or share())
    begins = accumulate(most, initial=0)
    return [found[begin : begin + many] for begin, many in zip(begins, counts.tolist(), strict=False)]


def _check(query: Descriptors, gallery: Descriptors) -> None:
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise ValueError(f"descriptors must have the same length, not {query.shape} and {gallery.shape}")
    if query.dtype != gallery.dtype or query.dtype not in (np.uint8, np.int8, np.float32):
        raise ValueError(f"descriptors must both be uint8, int8 or float32, not {query.dtype}, {gallery.dtype}")
    for side in (query, gallery):
        if not (side.flags.c_contiguous and side.flags.aligned):
            raise ValueError("descriptors must be aligned and C-contiguous: use np.ascontiguousarray")


def _is_native(query: Descriptors) -> bool:
    # Products of longer byte descriptors may overflow int32; NumPy computes them in float64.
    return backend() != "numpy" and (query.dtype == np.float32 or query.shape[1] <= _native.LONGEST_BYTES)


def _count_numpy(
    query: Descriptors, gallery: Descriptors, offsets: NDArray[np.int64], wanted: _Near | None = None
) -> NearCounts:
    counts, near = np.zeros((2, len(offsets) - 1), dtype=np.int64)
    kept: dict[int, NDArray[np.int64]] = {}
    room = wanted.room if wanted else 0
    if len(query) == 0:
        return NearCounts(counts, near, kept)
    prepared = _real(query)
    numbers = np.arange(len(query))
    # One scratch buffer for all images: allocating pages for every product would cost more than the product.
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
            best = products.argmax(axis=1)
            mutual = products.argmax(axis=0)[best] == numbers
            counts[b] = np.count_nonzero(mutual)
            if wanted is not None:
                near[b] = np.count_nonzero(mutual & (products[numbers, best] >= wanted.least))
            if counts[b] <= room:
                room -= int(counts[b])
                kept[b] = np.stack([numbers[mutual], best[mutual]], axis=1).astype(np.int64)
        elif room:
            kept[b] = np.empty((0, 2), dtype=np.int64)
    return NearCounts(counts, near, kept)


def _pairs_numpy(query: Descriptors, candidate: Descriptors) -> NDArray[np.int64]:
    if len(query) == 0 or len(candidate) == 0:
        return np.empty((0, 2), dtype=np.int64)
    prepared = _real(query)
    products = prepared @ candidate.astype(prepared.dtype, copy=False).T
    best_column, best_row = products.argmax(axis=1), products.argmax(axis=0)
    mutual = np.flatnonzero(best_row[best_column] == np.arange(len(query)))
    return np.stack([mutual, best_column[mutual]], axis=1).astype(np.int64)


def _real(descriptors: Descriptors) -> NDArray[Any]:
    """Convert descriptors to a floating-point type with a fast and, for bytes, exact matrix product.

    A product is at most D x 255^2. float32 represents all integers up to 2^24 exactly, float64 up to 2^53.
    """
    if descriptors.dtype == np.float32:
        return descriptors
    return descriptors.astype(np.float32 if descriptors.shape[1] * 255**2 <= 2**24 else np.float64)
