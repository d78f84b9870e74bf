"""Visual vocabularies: hierarchical k-means with two levels, trained on a sample.

Level one divides the descriptors into cells, level two each cell into words. With a thousand of each, a descriptor
is compared with two thousand centres to find one of a million words.

Source: D. Nistér, H. Stewénius, "Scalable recognition with a vocabulary tree", CVPR 2006.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagefinder.kernels.nearest_words import LANES, PADDING, nearest_words, padded, panels, sums

_ROUNDS = 8
_BLOCK = 1 << 18
_COARSE_SAMPLE = 1024
"""Maximum number of vectors per cell that level one is trained on."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """A vocabulary of two levels; centres are bytes.

    Words are numbered by cell, with gaps: each cell has room for ``P * LANES`` words and uses the first of them.

    Attributes:
        cells: ``(1, p, G, LANES, GROUP)`` int8, panels of the centres of the cells.
        cell_halves: ``(1, p * LANES)`` int32, half of the squared length of each.
        fine: ``(C, P, G, LANES, GROUP)`` int8, panels of the centres of the words of each cell.
        halves: ``(C, P * LANES)`` int32, half of the squared length of each; ``PADDING`` without a word.
    """

    cells: NDArray[np.int8]
    cell_halves: NDArray[np.int32]
    fine: NDArray[np.int8]
    halves: NDArray[np.int32]

    @property
    def words(self) -> int:
        """Number of word numbers, gaps included."""
        return self.halves.size

    def centres(self, words: NDArray[np.int32]) -> Bytes:
        """The centres of these words: ``(N, D)`` uint8, ``D`` rounded up to a multiple of ``GROUP``."""
        cells, numbers = np.divmod(words, self.halves.shape[1])
        stored = self.fine[cells, numbers // LANES, :, numbers % LANES].reshape(len(words), -1)
        return stored.view(np.uint8) ^ np.uint8(0x80)

    def assign(self, vectors: Bytes) -> NDArray[np.int32]:
        """The word of each vector, the nearest one of the nearest cell: ``(N,)`` int32."""
        words = np.empty(len(vectors), dtype=np.int32)
        for begin in range(0, len(vectors), _BLOCK):  # large blocks, so that the words of a cell stay in the cache
            words[begin : begin + _BLOCK] = self.nearest(vectors[begin : begin + _BLOCK], 1, cells=1)[:, 0]
        return words

    def nearest(self, vectors: Bytes, many: int, *, cells: int = 2) -> NDArray[np.int32]:
        """The nearest words of each vector among those of its nearest cells, best first.

        Args:
            vectors: ``(N, D)`` uint8.
            many: Number of words to find.
            cells: Number of cells to search.

        Returns:
            ``(N, many)`` int32; -1 where the cells have fewer words.
        """
        vectors = padded(vectors)
        near = _nearest_centres(vectors, self.cells, self.cell_halves, cells)
        rows, cell_of = np.divmod(np.argsort(near.reshape(-1), kind="stable").astype(np.int32), cells)
        pairs = rows.astype(np.int32), near[rows, cell_of]
        words, scores = nearest_words(vectors, *pairs, centres=self.fine, halves=self.halves, many=many)
        if cells == 1:
            best = np.empty_like(words)
            best[rows] = words
            return best
        of_cells = np.empty((len(vectors), cells, many, 2), dtype=np.int32)
        of_cells[rows, cell_of] = np.stack([scores, words], axis=2)
        merged = of_cells.reshape(len(vectors), cells * many, 2)
        order = np.argsort(-merged[:, :, 0].astype(np.int64), axis=1, kind="stable")[:, :many]
        found: NDArray[np.int32] = np.take_along_axis(merged[:, :, 1], order, axis=1)
        return found


def train(sample: Bytes, words: int, *, seed: int = 0) -> Vocabulary:
    """Train a vocabulary; deterministic for the same sample.

    Args:
        sample: ``(S, D)`` uint8; an empty sample gives one word at the origin.
        words: Desired number of words; there are never more words than half as many as vectors.
        seed: Seed of the random choice of initial centres.
    """
    generator = np.random.default_rng(seed)
    if len(sample) == 0:
        sample = np.zeros((1, sample.shape[1]), dtype=np.uint8)
    words = max(1, min(words, len(sample) // 2 or 1))
    first = max(1, round(words**0.5))
    second = max(1, words // first)
    some = sample
    if len(sample) > first * _COARSE_SAMPLE:
        some = sample[np.sort(generator.choice(len(sample), first * _COARSE_SAMPLE, replace=False))]
    packed_cells, halves_of_cells = panels(_kmeans(some, first, generator))
    cells, cell_halves = packed_cells[None], halves_of_cells[None]
    owner = np.empty(len(sample), dtype=np.int32)
    for begin in range(0, len(sample), _BLOCK):
        block = padded(sample[begin : begin + _BLOCK])
        owner[begin : begin + _BLOCK] = _nearest_centres(block, cells, cell_halves, 1)[:, 0]
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(first + 1))
    empty, no_halves = panels(np.zeros((second, sample.shape[1]), dtype=np.uint8))
    fine = np.broadcast_to(empty, (first, *empty.shape)).copy()
    halves = np.full((first, len(no_halves)), PADDING, dtype=np.int32)
    for cell in range(first):
        rows = order[starts[cell] : starts[cell + 1]]
        if len(rows):
            centres = _kmeans(sample[rows], min(second, len(rows)), generator)
        else:  # a query can still have this cell among its nearest
            centres = _bytes_of(cells[0], cell, sample.shape[1])
        packed, its_halves = panels(centres)
        fine[cell, : len(packed)], halves[cell, : len(its_halves)] = packed, its_halves
    return Vocabulary(cells, cell_halves, fine, halves)


def _bytes_of(packed: NDArray[np.int8], number: int, dim: int) -> Bytes:
    stored = packed[number // LANES, :, number % LANES].reshape(1, -1)[:, :dim]
    return stored.view(np.uint8) ^ np.uint8(0x80)


def _nearest_centres(
    vectors: Bytes, packed: NDArray[np.int8], halves: NDArray[np.int32], many: int
) -> NDArray[np.int32]:
    rows = np.arange(len(vectors), dtype=np.int32)
    return nearest_words(vectors, rows, np.zeros_like(rows), centres=packed, halves=halves, many=many)[0]


def _kmeans(vectors: Bytes, many: int, generator: np.random.Generator) -> Bytes:
    """Centres of ``many`` clusters: ``(many, D)`` uint8."""
    centres = vectors[generator.choice(len(vectors), many, replace=False)]
    for _ in range(_ROUNDS):
        total = np.zeros(centres.shape, dtype=np.int64)
        counts = np.zeros(many, dtype=np.int64)
        packed, halves = panels(centres)
        for begin in range(0, len(vectors), _BLOCK):
            some = vectors[begin : begin + _BLOCK]
            owner = _nearest_centres(padded(some), packed[None], halves[None], 1)[:, 0]
            of_block, in_block = sums(some, owner, many)
            total += of_block
            counts += in_block
        filled = np.flatnonzero(counts)
        centres = centres.copy()
        centres[filled] = np.rint(total[filled] / counts[filled, None])
    return centres
