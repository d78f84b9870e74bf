"""Hamming embedding for local features: visual words and binary signatures that vote for images.

Each descriptor is kept as the word it belongs to and 64 bits: on which side of the word's centre it lies along 64
random directions. A query's descriptors look into their nearest words for signatures that are near.

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
from imagefinder.kernels.mutual_nn import cores

POSTINGS_PER_WORD = 600
"""How many descriptors of the collection share a word, about."""

MOST_WORDS = 1 << 16
NEAREST_WORDS = 4
"""How many words each descriptor of a query is looked up in."""

SELECTIVITY = 20
"""Signatures that differ in more of their 64 bits do not count. With 24 the right images are proposed as often, in
twice the time: a tenth of all pairs is as near as that by chance."""

_WEIGHTS = np.array(
    [round(1000 * (1 - 2 * d / 64) ** 3) if d <= SELECTIVITY else 0 for d in range(65)], dtype=np.int64
)
_BLOCK = 1 << 18


class HammingEmbedding:
    """The ``Codec`` of local features."""

    name = "votes"
    version = 2

    def __init__(self, spec: FeatureSpec) -> None:
        """Only stores."""
        self._spec = spec

    def words(self, images: int, rows: int) -> int:
        """See ``Codec``."""
        del images
        return max(1, min(MOST_WORDS, rows // POSTINGS_PER_WORD, rows // 4))

    def sample_rows(self, images: int, rows: int) -> int:
        """How many descriptors the words are learned from."""
        return min(rows, self.words(images, rows) * 16)

    def train(self, sample: Features, images: int, rows: int) -> Arrays:
        """Words, directions."""
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
        """Check what was read from a file; see ``Codec``."""
        shapes = {"coarse": "CD", "fine": "CFD", "halves": "CF", "rotation": "DB", "turned": "WB"}
        check_shapes(model, shapes, {"D": self._spec.dim, "B": voting.BITS})
        if len(model["turned"]) != model["halves"].size:
            raise ValueError("the model has thresholds for another number of words")

    def encode(self, model: Arrays, features: Features) -> Postings:
        """Words and signatures of all descriptors."""
        assert isinstance(features, LocalFeatures)  # noqa: S101 - narrows the type
        known = _Model(model)
        words = np.empty(len(features.descriptors), dtype=np.int32)
        codes = np.empty(len(words), dtype=np.uint64)
        for begin in range(0, len(words), _BLOCK):
            vectors = _real(features.descriptors[begin : begin + _BLOCK])
            some = known.words.assign(vectors)
            words[begin : begin + _BLOCK] = some
            codes[begin : begin + _BLOCK] = known.signatures(vectors, some)
        counts = np.diff(features.offsets)
        return Postings(words, np.repeat(np.arange(len(counts), dtype=np.int32), counts), codes, counts)

    def score(self, model: Arrays, queries: Features, segments: Sequence[Segment]) -> list[list[SegmentScores]]:
        """Votes, per square root of the number of an image's descriptors."""
        assert isinstance(queries, LocalFeatures)  # noqa: S101 - narrows the type
        known = _Model(model)
        vectors = _real(queries.descriptors)
        near = known.words.nearest(vectors, NEAREST_WORDS)  # of all queries at once: words are read once
        codes = known.signatures(np.repeat(vectors, near.shape[1], axis=0), near.reshape(-1)).reshape(near.shape)
        per_word = np.zeros(known.words.words, dtype=np.int64)
        for segment in segments:
            per_word += np.diff(segment.starts)
        # Rare words say more; squared, as for both sides of a cosine.
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
        with ThreadPoolExecutor(cores()) as pool:
            for begin, end in pairwise(queries.offsets.tolist()):
                query_postings = _in_word_order(near[begin:end], codes[begin:end])
                scores.append(pool.map(partial(found, query_postings), segments))
            return [list(of_query) for of_query in scores]


def _in_word_order(
    words: NDArray[np.int32], codes: NDArray[np.uint64]
) -> tuple[NDArray[np.int32], NDArray[np.uint64]]:
    """Words and codes of a query, in order of words; of one word first those to which it is nearest."""
    words, codes = words.T.reshape(-1), codes.T.reshape(-1)
    order = np.argsort(words, kind="stable")
    return np.ascontiguousarray(words[order]), np.ascontiguousarray(codes[order])


class _Model:
    def __init__(self, arrays: Arrays) -> None:
        self.words = Vocabulary(arrays["coarse"], arrays["fine"], arrays["halves"])
        self._rotation, self._turned = arrays["rotation"], arrays["turned"]

    def signatures(self, vectors: Vectors, words: NDArray[np.int32]) -> NDArray[np.uint64]:
        """On which side of their word's centre the vectors lie."""
        bits = vectors @ self._rotation > self._turned[words]
        return np.packbits(bits, axis=1, bitorder="little").view("<u8")[:, 0].astype(np.uint64)


def _vectors(features: Features) -> Vectors:
    assert isinstance(features, LocalFeatures)  # noqa: S101 - narrows the type
    return _real(features.descriptors)


def _real(descriptors: NDArray[np.uint8] | NDArray[np.int8] | NDArray[np.float32]) -> Vectors:
    """As float32; those that are no bytes from 0 to 255 (tokens) by their direction alone."""
    if descriptors.dtype == np.uint8:
        return descriptors.astype(np.float32)
    real = descriptors.astype(np.float32, copy=False)
    directions: Vectors = real / np.maximum(np.linalg.norm(real, axis=1, keepdims=True), 1e-12)
    return directions
