"""Hamming embedding for local features: visual words and binary signatures that vote for images.

Each descriptor is stored as its visual word and a 64-bit signature: the side of the word's centre on which it
lies, along 64 random directions. The descriptors of a query vote for similar signatures in their nearest words.

Sources: J. Sivic, A. Zisserman, "Video Google", ICCV 2003 (visual words); H. Jégou et al., ECCV 2008 (Hamming
embedding); G. Tolias, Y. Avrithis, H. Jégou, "To aggregate or not to aggregate: selective match kernels for image
search", ICCV 2013 (signs of residuals, selectivity).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from imagefinder.ann import vocabulary
from imagefinder.ann.arrays import Arrays
from imagefinder.ann.codec import check_shapes
from imagefinder.ann.segment import Postings, Segment, SegmentScores
from imagefinder.ann.vocabulary import Bytes, Vocabulary
from imagefinder.core.features import Features, FeatureSpec, LocalFeatures
from imagefinder.kernels import voting
from imagefinder.kernels.nearest_words import GROUP, LANES
from imagefinder.kernels.products import product
from imagefinder.kernels.threads import share

POSTINGS_PER_WORD = 600
"""Approximate number of descriptors of the collection per word."""

MOST_WORDS = 1 << 21
SAMPLES_PER_WORD = 12
"""Number of descriptors to train each word on. With two, words are so unequal that a query looks at 1.6 times as
many postings."""

MOST_SAMPLES = 1 << 24
"""Maximum number of descriptors to train on; bounds the memory to 2 GiB for SIFT."""

ASSIGNED_CELLS, NEAREST_CELLS = 2, 4
"""Numbers of cells in which the word of a stored descriptor, and the words of a query descriptor are sought. More
of them find more pairs of matching descriptors in the same words, without more postings."""

NEAREST_WORDS = 4
"""Number of words in which each query descriptor is looked up (multiple assignment)."""

SELECTIVITY = 20
"""Maximum Hamming distance of matching signatures. A value of 24 proposes the right images just as often, in twice
the time, because a tenth of all pairs is that close by chance."""

_WEIGHTS = np.array(
    [round(1000 * (1 - 2 * d / 64) ** 3) if d <= SELECTIVITY else 0 for d in range(65)], dtype=np.int64
)
_BLOCK = 1 << 18
_SIGNED_AT_ONCE = 1 << 14


class HammingEmbedding:
    """The codec of local features."""

    name = "votes"
    version = 3

    def __init__(self, spec: FeatureSpec) -> None:
        """Create a codec for local features of this spec."""
        self._spec = spec

    def words(self, images: int, rows: int) -> int:
        """Number of words: about one per ``POSTINGS_PER_WORD`` descriptors."""
        del images
        return max(1, min(MOST_WORDS, rows // POSTINGS_PER_WORD, rows // 4))

    def sample_rows(self, images: int, rows: int) -> int:
        """Number of descriptors to train the words on."""
        return min(rows, self.words(images, rows) * SAMPLES_PER_WORD, MOST_SAMPLES)

    def train(self, sample: Features, images: int, rows: int) -> Arrays:
        """Train words and random directions."""
        assert isinstance(sample, LocalFeatures)  # noqa: S101 - narrows the type
        words = vocabulary.train(_bytes(sample.descriptors), self.words(images, rows))
        generator = np.random.default_rng(1)
        directions, _ = np.linalg.qr(generator.standard_normal((max(self._spec.dim, voting.BITS),) * 2))
        return {
            "cells": words.cells,
            "cell_halves": words.cell_halves,
            "fine": words.fine,
            "halves": words.halves,
            "rotation": np.ascontiguousarray(directions[: self._spec.dim, : voting.BITS], dtype=np.float32),
        }

    def check(self, model: Arrays) -> None:
        """Check the names, dtypes and shapes of a model's arrays."""
        shapes = {"cells": "1QGLE", "cell_halves": "1R", "fine": "CPGLE", "halves": "CS", "rotation": "DB"}
        sizes = {"1": 1, "G": -(-self._spec.dim // GROUP), "L": LANES, "E": GROUP, "D": self._spec.dim}
        dtypes = {"cells": np.int8, "cell_halves": np.int32, "fine": np.int8, "halves": np.int32}
        check_shapes(model, shapes, {**sizes, "B": voting.BITS}, dtypes)
        for centres, halves in (("cells", "cell_halves"), ("fine", "halves")):
            panels = model[centres].shape[1]
            if panels % 2 or panels * LANES != model[halves].shape[1]:
                raise ValueError(f"the array {halves} of the model is for another number of words")
        if len(model["fine"]) > model["cell_halves"].size:
            raise ValueError("the model has words of more cells than it has cells")

    def encode(self, model: Arrays, features: Features) -> Postings:
        """Words and signatures of all descriptors."""
        assert isinstance(features, LocalFeatures)  # noqa: S101 - narrows the type
        trained = _Model(model)
        words = np.empty(len(features.descriptors), dtype=np.int32)
        codes = np.empty(len(words), dtype=np.uint64)
        for begin in range(0, len(words), _BLOCK):  # large, so that the words of a cell stay in the cache
            vectors = _bytes(features.descriptors[begin : begin + _BLOCK])
            some = trained.words.nearest(vectors, 1, cells=ASSIGNED_CELLS)[:, 0]
            words[begin : begin + _BLOCK] = some
            codes[begin : begin + _BLOCK] = trained.signatures(vectors, some)
        counts = np.diff(features.offsets)
        return Postings(words, np.repeat(np.arange(len(counts), dtype=np.int32), counts), codes, counts)

    def score(self, model: Arrays, queries: Features, segments: Sequence[Segment]) -> list[list[SegmentScores]]:
        """Votes of each image, divided by the square root of its number of descriptors."""
        assert isinstance(queries, LocalFeatures)  # noqa: S101 - narrows the type
        trained = _Model(model)
        vectors = _bytes(queries.descriptors)
        # All queries at once, so that the words are read once.
        near = trained.words.nearest(vectors, NEAREST_WORDS, cells=NEAREST_CELLS)
        codes = trained.signatures(np.repeat(vectors, near.shape[1], axis=0), near.reshape(-1)).reshape(near.shape)
        looked_up = _LookedUp(np.unique(near[near >= 0]), segments)
        scores = []
        with ThreadPoolExecutor(share()) as pool:
            for begin, end in pairwise(queries.offsets.tolist()):
                words, of_words = _in_word_order(near[begin:end], codes[begin:end])
                places = looked_up.places(words)
                parts = [pool.submit(looked_up.votes, number, places, of_words) for number in range(len(segments))]
                scores.append(parts)
            return [[part.result() for part in parts] for parts in scores]


class _LookedUp:
    """The postings of the words of some queries.

    The kernel takes words by number and the start of each. Word ``w`` of these gets the number ``2 * w``: its
    postings end where number ``2 * w + 1`` starts, so that there may be a gap before the next word.
    """

    def __init__(self, words: NDArray[np.int32], segments: Sequence[Segment]) -> None:
        self._words, self._segments = words, segments
        ranges = [segment.ranges(words) for segment in segments]
        self._starts = [
            np.append(np.stack(both, axis=1), np.zeros((1, 2), np.int64)).reshape(-1) for both in ranges
        ]
        per_word = np.zeros(len(words), dtype=np.int64)
        for begins, ends in ranges:
            per_word += ends - begins
        # Inverse document frequency, squared because it weights both sides of a cosine.
        total = max(1, sum(len(segment.codes) for segment in segments))
        rarities = np.rint(100 * np.log2(1 + total / (1 + per_word)) ** 2).astype(np.int64)
        self._rarities = np.append(np.repeat(rarities, 2), 0)

    def places(self, words: NDArray[np.int32]) -> NDArray[np.int32]:
        """The kernel's numbers of these words, in the same order."""
        return 2 * np.searchsorted(self._words, words).astype(np.int32)

    def votes(self, number: int, places: NDArray[np.int32], codes: NDArray[np.uint64]) -> SegmentScores:
        """Scores of the images of one segment for a query."""
        segment = self._segments[number]
        votes = voting.votes(
            self._starts[number],
            segment.owners,
            segment.codes,
            places,
            codes,
            weights=_WEIGHTS,
            rarities=self._rarities,
            images=len(segment.keys),
        )
        rows = np.flatnonzero(votes)
        return SegmentScores(rows, votes[rows] / np.sqrt(segment.sizes[rows] + 30.0))


def _in_word_order(
    words: NDArray[np.int32], codes: NDArray[np.uint64]
) -> tuple[NDArray[np.int32], NDArray[np.uint64]]:
    """Sort the words and codes of a query by word; within a word, descriptors nearest to it come first.

    Missing words (-1) are left out.
    """
    words, codes = words.T.reshape(-1), codes.T.reshape(-1)
    order = np.argsort(words, kind="stable")
    order = order[np.searchsorted(words[order], 0) :]
    return np.ascontiguousarray(words[order]), np.ascontiguousarray(codes[order])


class _Model:
    def __init__(self, arrays: Arrays) -> None:
        self.words = Vocabulary(arrays["cells"], arrays["cell_halves"], arrays["fine"], arrays["halves"])
        self._rotation = arrays["rotation"]

    def signatures(self, vectors: Bytes, words: NDArray[np.int32]) -> NDArray[np.uint64]:
        """Binary signatures: the side of the word's centre on which each vector lies."""
        codes = np.empty(len(vectors), dtype=np.uint64)
        for begin in range(0, len(vectors), _SIGNED_AT_ONCE):
            some = slice(begin, begin + _SIGNED_AT_ONCE)
            centres = self.words.centres(words[some])[:, : vectors.shape[1]]
            differences = np.subtract(vectors[some], centres, dtype=np.float32)
            bits = product(differences, self._rotation) > 0
            codes[some] = np.packbits(bits, axis=1, bitorder="little").view("<u8")[:, 0]
        return codes


def _bytes(descriptors: NDArray[np.uint8] | NDArray[np.int8] | NDArray[np.float32]) -> Bytes:
    """Convert descriptors to uint8; tokens (all but uint8) by direction.

    A byte of a token is 1/127 of eight times the root mean square of the elements of a direction.
    """
    if descriptors.dtype == np.uint8:
        return descriptors.view(np.uint8)
    real = descriptors.astype(np.float32, copy=False)
    directions = real / np.maximum(np.linalg.norm(real, axis=1, keepdims=True), 1e-12)
    scale = 127 / 8 * np.sqrt(real.shape[1])
    found: Bytes = np.clip(np.rint(directions * scale) + 128, 0, 255).astype(np.uint8)
    return found
