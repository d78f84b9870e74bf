"""Visual vocabularies: k-means with one or two levels, trained on a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 8
_BLOCK = 1 << 18
_DISTANCES = 1 << 24
"""Number of distances in memory at once."""
_SAMPLES_PER_WORD = 12

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """A two-level vocabulary: cells, each divided into the same number of words.

    Attributes:
        coarse: ``(C, D)`` float32, centres of the cells.
        fine: ``(C, F, D)`` float32, centres of the words of each cell.
        halves: ``(C, F)`` float32, half of the squared length of each word centre.
    """

    coarse: Vectors
    fine: Vectors
    halves: Vectors

    @classmethod
    def of(cls, coarse: Vectors, fine: Vectors) -> Vocabulary:
        """Create a vocabulary from its centres."""
        return cls(coarse, fine, np.einsum("cfd,cfd->cf", fine, fine) / 2)

    @property
    def words(self) -> int:
        """Number of words."""
        return int(self.fine.shape[0] * self.fine.shape[1])

    @property
    def centres(self) -> Vectors:
        """Centres of all words, ``(W, D)`` float32."""
        return self.fine.reshape(-1, self.fine.shape[2])

    def assign(self, vectors: Vectors) -> NDArray[np.int32]:
        """The word of each vector, the nearest one of the nearest cell: ``(N,)`` int32."""
        words = np.empty(len(vectors), dtype=np.int32)
        for begin in range(0, len(vectors), _BLOCK):
            some = vectors[begin : begin + _BLOCK]
            cells = _nearest(some, self.coarse)
            for cell, rows in _groups(cells, len(self.coarse)):
                inner = _nearest(some[rows], self.fine[cell])
                words[begin + rows] = cell * self.fine.shape[1] + inner
        return words

    def nearest(self, vectors: Vectors, many: int, *, cells: int = 4) -> NDArray[np.int32]:
        """The ``many`` nearest words of each vector among those of its nearest cells: ``(N, many)`` int32."""
        cells = min(cells, len(self.coarse))
        fine = self.fine.shape[1]
        many = min(many, cells * fine)
        near = _least(_distances(vectors, self.coarse), cells)
        far = np.empty((len(vectors) * cells, fine), dtype=np.float32)
        for cell, rows in _groups(near.reshape(-1), len(self.coarse)):
            # The squared length of the vector is omitted, because it is the same for all words.
            far[rows] = self.halves[cell] - vectors[rows // cells] @ self.fine[cell].T
        best = _least(far.reshape(len(vectors), cells * fine), many)
        words: NDArray[np.int32] = (np.take_along_axis(near, best // fine, axis=1) * fine + best % fine).astype(
            np.int32
        )
        return words


def train(
    sample: Vectors, words: int, *, levels: Literal[1, 2] = 2, spherical: bool = False, seed: int = 0
) -> Vocabulary:
    """Train a vocabulary of about ``words`` words; deterministic for the same sample.

    Args:
        sample: ``(S, D)`` float32; an empty sample gives one word at the origin.
        words: Desired number of words; there are never more words than vectors.
        levels: Two levels are much faster, and give words of less equal sizes.
        spherical: Spherical k-means, for vectors of length 1 and one level: centres are normalised to length 1.
            Otherwise, centres of dissimilar vectors would be short, and near to all short vectors.
        seed: Seed of the random choice of initial centres.
    """
    generator = np.random.default_rng(seed)
    if len(sample) == 0:
        return Vocabulary.of(
            np.zeros_like(sample, shape=(1, sample.shape[1])), np.zeros((1, 1, sample.shape[1]), np.float32)
        )
    words = max(1, min(words, len(sample) // 2 or 1))
    if levels == 1:
        centres = _kmeans(sample, words, generator, spherical=spherical)
        return Vocabulary.of(centres, centres[:, None])
    first = max(1, round(words**0.5))
    second = max(1, words // first)
    chosen = generator.permutation(len(sample))[: words * _SAMPLES_PER_WORD]
    sample = sample[chosen]
    coarse = _kmeans(sample[: first * 1024], first, generator)
    fine = np.empty((first, second, sample.shape[1]), dtype=np.float32)
    fine[:] = coarse[:, None]
    for cell, rows in _groups(_nearest(sample, coarse), first):
        found = _kmeans(sample[rows], min(second, len(rows)), generator)
        fine[cell] = found[np.arange(second) % len(found)]
        # Of equal centres, the first gets all vectors, and the others stay empty.
    return Vocabulary.of(coarse, fine)


def _kmeans(vectors: Vectors, many: int, generator: np.random.Generator, *, spherical: bool = False) -> Vectors:
    centres = vectors[generator.choice(len(vectors), many, replace=False)]
    for _ in range(_ROUNDS):
        owner = _nearest(vectors, centres)
        order = np.argsort(owner, kind="stable")
        counts = np.bincount(owner, minlength=many)
        filled = np.flatnonzero(counts)
        starts = (np.cumsum(counts) - counts)[filled]
        centres = centres.copy()
        centres[filled] = np.add.reduceat(vectors[order], starts, axis=0) / counts[filled, None]
        if spherical:
            centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    return centres.astype(np.float32)


def _distances(vectors: Vectors, centres: Vectors) -> Vectors:
    """Half of the squared distances, minus the part that is the same for all centres."""
    distances: Vectors = vectors @ centres.T
    np.subtract(np.einsum("cd,cd->c", centres, centres) / 2, distances, out=distances)
    return distances


def _least(values: Vectors, many: int) -> NDArray[np.int64]:
    """Columns of the ``many`` smallest values of each row, ascending: ``(N, many)``; overwrites the values."""
    found = np.empty((len(values), many), dtype=np.int64)
    rows = np.arange(len(values))
    for place in range(many):  # for small ``many``, ten times as fast as NumPy's argpartition
        found[:, place] = values.argmin(axis=1)
        values[rows, found[:, place]] = np.inf
    return found


def _nearest(vectors: Vectors, centres: Vectors) -> NDArray[np.int64]:
    nearest = np.empty(len(vectors), dtype=np.int64)
    step = max(1, _DISTANCES // len(centres))
    for begin in range(0, len(vectors), step):
        nearest[begin : begin + step] = _distances(vectors[begin : begin + step], centres).argmin(axis=1)
    return nearest


def _groups(labels: NDArray[np.int64], many: int) -> list[tuple[int, NDArray[np.int64]]]:
    """(label, rows) for each label that occurs."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(many + 1))
    return [
        (label, order[starts[label] : starts[label + 1]])
        for label in range(many)
        if starts[label] < starts[label + 1]
    ]
