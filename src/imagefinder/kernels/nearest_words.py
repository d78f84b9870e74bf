"""The nearest words of byte vectors within cells of a visual vocabulary.

The score of a word is the product of the vector with the word's centre, minus half of the squared length of the
centre: the nearest centre by Euclidean distance has the highest score. Centres are stored minus 128, which changes
all scores of a vector by the same amount. All arithmetic is in integers, so the native kernel and NumPy give
identical results.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from imagefinder.kernels.mutual_nn import backend
from imagefinder.kernels.threads import share

LANES = 16
"""Number of words in a panel."""

GROUP = 4
"""Number of consecutive elements of a word that are stored together."""

PADDING = (1 << 31) - 1
"""Half of a word that does not exist; it fills up the last panels of a cell."""

NO_WORD = -PADDING
"""Score of a missing word."""

_WORTH_A_THREAD = 1 << 24
"""Minimum number of products per thread; fewer take less time than starting a thread."""


def panels(centres: NDArray[np.uint8]) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """Centres in the order in which the kernel reads them.

    Args:
        centres: ``(F, D)`` uint8.

    Returns:
        ``(P, G, LANES, GROUP)`` int8, centres minus 128 in an even number of panels; elements beyond ``D`` are 0.
        ``(P * LANES,)`` int32, half of the squared length of each centre.
    """
    words, dim = centres.shape
    many, groups = -(-words // (2 * LANES)) * 2, -(-dim // GROUP)
    padded = np.zeros((many * LANES, groups * GROUP), dtype=np.int8)
    padded[:words, :dim] = (centres ^ 0x80).view(np.int8)
    halves = np.full(many * LANES, PADDING, dtype=np.int32)
    halves[:words] = np.einsum("fd,fd->f", centres, centres, dtype=np.int64) // 2
    return padded.reshape(many, LANES, groups, GROUP).transpose(0, 2, 1, 3).copy(), halves


def padded(vectors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Vectors with zeros appended up to a multiple of ``GROUP`` elements, C-contiguous."""
    missing = -vectors.shape[1] % GROUP
    return np.ascontiguousarray(np.pad(vectors, ((0, 0), (0, missing))) if missing else vectors)


def nearest_words(
    vectors: NDArray[np.uint8],
    rows: NDArray[np.int32],
    cells: NDArray[np.int32],
    *,
    centres: NDArray[np.int8],
    halves: NDArray[np.int32],
    many: int,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The nearest words of vectors within given cells; releases the GIL. Rows and cells out of range get none.

    Args:
        vectors: ``(N, G * GROUP)`` uint8, C-contiguous.
        rows: ``(R,)`` int32, the vector of each pair.
        cells: ``(R,)`` int32, the cell of each pair; fastest if equal cells follow one another.
        centres: ``(C, P, G, LANES, GROUP)`` int8, the panels of each cell.
        halves: ``(C, P * LANES)`` int32.
        many: Number of words to find, 1 to 64.

    Returns:
        ``(R, many)`` int32, words (``cell * P * LANES`` plus the number in the cell), best first, ties in order of
        words; -1 where there are fewer. ``(R, many)`` int32, their scores.
    """
    words = np.empty((len(rows), many), dtype=np.int32)
    scores = np.empty((len(rows), many), dtype=np.int32)
    if backend() == "numpy":
        _nearest_numpy(vectors, rows, cells, centres, halves, words, scores)
        return words, scores
    from imagefinder.kernels import _native  # noqa: PLC0415 - missing if built without a compiler

    products = len(rows) * halves.shape[1] * vectors.shape[1]
    shares = max(1, min(share(), products // _WORTH_A_THREAD))
    bounds = np.linspace(0, len(rows), shares + 1).astype(int).tolist()

    def search(begin: int, end: int) -> None:
        part = slice(begin, end)
        _native.nearest_words(vectors, rows[part], cells[part], centres, halves, words[part], scores[part])

    if shares == 1:
        search(0, len(rows))
    else:
        with ThreadPoolExecutor(shares) as pool:
            list(pool.map(lambda bound: search(*bound), pairwise(bounds)))
    return words, scores


def sums(
    vectors: NDArray[np.uint8], owners: NDArray[np.int32], many: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The sum of the vectors of each owner; releases the GIL.

    Args:
        vectors: ``(N, D)`` uint8, C-contiguous; ``N`` is at most 2^23.
        owners: ``(N,)`` int32, from 0 to ``many - 1``.
        many: Number of owners.

    Returns:
        ``(many, D)`` int32, the sums. ``(many,)`` int32, the numbers of vectors.
    """
    found, counts = np.zeros((many, vectors.shape[1]), dtype=np.int32), np.zeros(many, dtype=np.int32)
    if backend() == "numpy":
        np.add.at(found, owners, vectors)
        np.add.at(counts, owners, 1)
        return found, counts
    from imagefinder.kernels import _native  # noqa: PLC0415 - missing if built without a compiler

    _native.add_rows(vectors, owners, found, counts)
    return found, counts


# wide: the twin of the native kernel takes the same arguments.
def _nearest_numpy(  # noqa: PLR0917 - the native kernel's arguments
    vectors: NDArray[np.uint8],
    rows: NDArray[np.int32],
    cells: NDArray[np.int32],
    centres: NDArray[np.int8],
    halves: NDArray[np.int32],
    words: NDArray[np.int32],
    scores: NDArray[np.int32],
) -> None:
    words[:], scores[:] = -1, NO_WORD
    inside = (cells >= 0) & (cells < len(centres)) & (rows >= 0) & (rows < len(vectors))
    # float32 represents the products of up to 256 elements exactly, and its matrix product is fast.
    real = np.float32 if vectors.shape[1] <= 256 else np.float64
    width = halves.shape[1]
    for cell in np.unique(cells[inside]).tolist():
        pairs = np.flatnonzero(inside & (cells == cell))
        of_cell = centres[cell].transpose(0, 2, 1, 3).reshape(width, -1).astype(real)
        for at in np.array_split(pairs, -(-len(pairs) // 4096)):
            products = (vectors[rows[at]].astype(real) @ of_cell.T).astype(np.int64) - halves[cell]
            best = np.argsort(-products, axis=1, kind="stable")[:, : words.shape[1]]
            values = np.take_along_axis(products, best, axis=1)
            words[at, : best.shape[1]] = np.where(values > NO_WORD, cell * width + best, -1)
            scores[at, : best.shape[1]] = np.maximum(values, NO_WORD)
