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
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from imagefinder.ann import vocabulary
from imagefinder.ann.arrays import Arrays
from imagefinder.ann.codec import check_shapes
from imagefinder.ann.segment import Postings, Segment, SegmentScores
from imagefinder.ann.vocabulary import Vectors, Vocabulary
from imagefinder.core.features import Features, FeatureSpec, LocalFeatures
from imagefinder.kernels import voting
from imagefinder.kernels.threads import share

POSTINGS_PER_WORD = 600
"""Approximate number of descriptors of the collection per word."""

MOST_WORDS = 1 << 16
NEAREST_WORDS = 4
"""Number of words in which each query descriptor is looked up (multiple assignment)."""

SELECTIVITY = 20
"""Maximum Hamming distance of matching signatures. A value of 24 proposes the right images just as often, in twice
the time, because a tenth of all pairs is that close by chance."""

_WEIGHTS = np.array(
    [round(1000 * (1 - 2 * d / 64) ** 3) if d <= SELECTIVITY else 0 for d in range(65)], dtype=np.int64
)
_BLOCK = 1 << 18


class HammingEmbedding:
    """The codec of local features."""

    name = "votes"
    version = 2

    def __init__(self, spec: FeatureSpec) -> None:
        """Create a codec for local features of this spec."""
        self._spec = spec

    def words(self, images: int, rows: int) -> int:
        """Number of words: about one per ``POSTINGS_PER_WORD`` descriptors."""
        del images
        return max(1, min(MOST_WORDS, rows // POSTINGS_PER_WORD, rows // 4))

    def sample_rows(self, images: int, rows: int) -> int:
        """Number of descriptors to train the words on."""
        return min(rows, self.words(images, rows) * 16)

    def train(self, sample: Features, images: int, rows: int) -> Arrays:
        """Train words and random directions."""
        vectors = _vectors(sample)
        generator = np.random.default_rng(1)
        words = vocabulary.train(vectors, self.words(images, rows))
        directions, _ = np.linalg.qr(generator.standard_normal((max(self._spec.dim, voting.BITS),) * 2))
        rotation = np.ascontiguousarray(directions[: self._spec.dim, : voting.BITS], dtype=np.float32)
        turned = words.centres @ rotation
        return {
            "coarse": words.coarse,
            "fine": words.fine,
            "halves": words.halves,
            "rotation": rotation,
            "turned": turned,
        }

    def check(self, model: Arrays) -> None:
        """Check the names, dtypes and shapes of a model's arrays."""
        shapes = {"coarse": "CD", "fine": "CFD", "halves": "CF", "rotation": "DB", "turned": "WB"}
        check_shapes(model, shapes, {"D": self._spec.dim, "B": voting.BITS})
        if len(model["turned"]) != model["halves"].size:
            raise ValueError("the model has thresholds for another number of words")

    def encode(self, model: Arrays, features: Features) -> Postings:
        """Words and signatures of all descriptors."""
        assert isinstance(features, LocalFeatures)  # noqa: S101 - narrows the type
        trained = _Model(model)
        words = np.empty(len(features.descriptors), dtype=np.int32)
        codes = np.empty(len(words), dtype=np.uint64)
        for begin in range(0, len(words), _BLOCK):
            vectors = _real(features.descriptors[begin : begin + _BLOCK])
            some = trained.words.assign(vectors)
            words[begin : begin + _BLOCK] = some
            codes[begin : begin + _BLOCK] = trained.signatures(vectors, some)
        counts = np.diff(features.offsets)
        return Postings(words, np.repeat(np.arange(len(counts), dtype=np.int32), counts), codes, counts)

    def score(self, model: Arrays, queries: Features, segments: Sequence[Segment]) -> list[list[SegmentScores]]:
        """Votes of each image, divided by the square root of its number of descriptors."""
        assert isinstance(queries, LocalFeatures)  # noqa: S101 - narrows the type
        trained = _Model(model)
        vectors = _real(queries.descriptors)
        near = trained.words.nearest(vectors, NEAREST_WORDS)  # all queries at once, so that words are read once
        codes = trained.signatures(np.repeat(vectors, near.shape[1], axis=0), near.reshape(-1)).reshape(near.shape)
        per_word = np.zeros(trained.words.words, dtype=np.int64)
        for segment in segments:
            per_word += np.diff(segment.starts)
        # Inverse document frequency, squared because it weights both sides of a cosine.
        total = max(1, int(per_word.sum()))
        rarities = np.rint(100 * np.log2(1 + total / (1 + per_word)) ** 2).astype(np.int64)

        def found(query_postings: tuple[NDArray[np.int32], NDArray[np.uint64]], segment: Segment) -> SegmentScores:
            votes = voting.votes(
                segment.starts,
                segment.owners,
                segment.codes,
                *query_postings,
                weights=_WEIGHTS,
                rarities=rarities,
                images=len(segment.keys),
            )
            rows = np.flatnonzero(votes)
            return SegmentScores(rows, votes[rows] / np.sqrt(segment.sizes[rows] + 30.0))

        scores = []
        with ThreadPoolExecutor(share()) as pool:
            for begin, end in pairwise(queries.offsets.tolist()):
                query_postings = _in_word_order(near[begin:end], codes[begin:end])
                scores.append(pool.map(partial(found, query_postings), segments))
            return [list(of_query) for of_query in scores]


def _in_word_order(
    words: NDArray[np.int32], codes: NDArray[np.uint64]
) -> tuple[NDArray[np.int32], NDArray[np.uint64]]:
    """Sort the words and codes of a query by word; within a word, descriptors nearest to it come first."""
    words, codes = words.T.reshape(-1), codes.T.reshape(-1)
    order = np.argsort(words, kind="stable")
    return np.ascontiguousarray(words[order]), np.ascontiguousarray(codes[order])


class _Model:
    def __init__(self, arrays: Arrays) -> None:
        self.words = Vocabulary(arrays["coarse"], arrays["fine"], arrays["halves"])
        self._rotation, self._turned = arrays["rotation"], arrays["turned"]

    def signatures(self, vectors: Vectors, words: NDArray[np.int32]) -> NDArray[np.uint64]:
        """Binary signatures: the side of the word's centre on which each vector lies."""
        bits = vectors @ self._rotation > self._turned[words]
        return np.packbits(bits, axis=1, bitorder="little").view("<u8")[:, 0].astype(np.uint64)


def _vectors(features: Features) -> Vectors:
    assert isinstance(features, LocalFeatures)  # noqa: S101 - narrows the type
    return _real(features.descriptors)


def _real(descriptors: NDArray[np.uint8] | NDArray[np.int8] | NDArray[np.float32]) -> Vectors:
    """Convert descriptors to float32; tokens (all but uint8) are normalised to length 1."""
    if descriptors.dtype == np.uint8:
        return descriptors.astype(np.float32)
    real = descriptors.astype(np.float32, copy=False)
    directions: Vectors = real / np.maximum(np.linalg.norm(real, axis=1, keepdims=True), 1e-12)
    return directions
