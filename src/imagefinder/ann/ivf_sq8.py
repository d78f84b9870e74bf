"""IVF-SQ8 for global vectors: an inverted file of reduced, scalar-quantised vectors.

The difference of a normalised vector from the mean of the collection is projected onto the direction of the mean
and the principal directions, at most 256 in all, and stored as one byte per direction, in the cell of its word. A
query scores all vectors of its nearest cells by the approximate cosine of their codes; the exact cosine decides
later.

Sources: H. Jégou, M. Douze, C. Schmid, "Product quantization for nearest neighbor search", PAMI 2011 (inverted
file); the scalar quantisation is FAISS's ``SQ8``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imagefinder.ann import spherical_kmeans
from imagefinder.ann.arrays import Arrays
from imagefinder.ann.codec import check_shapes
from imagefinder.ann.segment import Postings, Segment, SegmentScores
from imagefinder.ann.spherical_kmeans import Vectors
from imagefinder.core.features import Features, FeatureSpec, GlobalFeatures
from imagefinder.kernels.dots import dots
from imagefinder.kernels.products import product

DIRECTIONS = 256
VECTORS_PER_WORD = 256
MOST_WORDS = 4096
VISITED = 48
"""Minimum number of nearest cells that are scored; more are scored until ``SCORED`` vectors are reached."""

SCORED = 16384
"""Minimum number of vectors that are scored. Four times as many find at most 0.001 more of the exact top 10."""

_LEVELS = 127
_FINE_LEVELS = 32767
_BLOCK = 1 << 14


class IvfSq8:
    """The codec of global vectors."""

    name = "cells"
    version = 5

    def __init__(self, spec: FeatureSpec) -> None:
        """Create a codec for global vectors of this spec."""
        self._spec = spec

    def words(self, images: int, rows: int) -> int:
        """Number of cells: about one per ``VECTORS_PER_WORD`` images."""
        del rows
        return max(1, min(MOST_WORDS, images // VECTORS_PER_WORD))

    def sample_rows(self, images: int, rows: int) -> int:
        """Number of vectors to train directions and cells on."""
        return min(images, max(4096, self.words(images, rows) * 16))

    def train(self, sample: Features, images: int, rows: int) -> Arrays:
        """Train mean, directions, quantisation steps and cells."""
        vectors = _unit(sample)
        # The vectors of a network share a large component along their mean. Without subtracting it, quantisation
        # steps would be larger than the differences between similar vectors.
        mean = vectors.mean(axis=0) if len(vectors) else np.zeros(self._spec.dim, dtype=np.float32)
        apart = vectors - mean
        rotation = _directions(mean, apart)
        short = apart @ rotation
        reach = np.maximum(np.abs(short).max(axis=0, initial=0.0), 1e-6)
        directions = short / np.maximum(np.linalg.norm(short, axis=1, keepdims=True), 1e-12)
        centres = spherical_kmeans.train(directions, self.words(images, rows))
        return {
            "mean": mean,
            "rotation": rotation,
            "steps": (reach / _LEVELS).astype(np.float32),
            "centres": centres,
            "halves": np.einsum("cr,cr->c", centres, centres) / 2,
        }

    def check(self, model: Arrays) -> None:
        """Check the names, dtypes and shapes of a model's arrays."""
        shapes = {"mean": "D", "rotation": "DR", "steps": "R", "centres": "CR", "halves": "C"}
        check_shapes(model, shapes, {"D": self._spec.dim})

    def encode(self, model: Arrays, features: Features) -> Postings:
        """Cell and code of each vector."""
        words, codes = [np.empty(0, np.int32)], [np.empty((0, model["rotation"].shape[1]), np.int8)]
        assert isinstance(features, GlobalFeatures)  # noqa: S101 - narrows the type
        for begin in range(0, len(features), _BLOCK):
            vectors = _unit(GlobalFeatures(features.vectors[begin : begin + _BLOCK]))
            short = product(vectors - model["mean"], model["rotation"])
            words.append(spherical_kmeans.nearest(short, model["centres"]).astype(np.int32))
            codes.append(np.clip(np.rint(short / model["steps"]), -_LEVELS, _LEVELS).astype(np.int8))
        count = len(features)
        owners = np.arange(count, dtype=np.int32)
        return Postings(np.concatenate(words), owners, np.concatenate(codes), np.ones(count, dtype=np.int64))

    def score(self, model: Arrays, queries: Features, segments: Sequence[Segment]) -> list[list[SegmentScores]]:
        """Approximate cosines of the vectors in the nearest cells."""
        return [_score(model, vector, segments) for vector in _unit(queries)]


def _score(model: Arrays, vector: Vectors, segments: Sequence[Segment]) -> list[SegmentScores]:
    mean, rotation = model["mean"], model["rotation"]
    # einsum runs in this thread. Those of BLAS would keep spinning after such short products.
    short = np.einsum("d,dr->r", vector - mean, rotation)
    far = model["halves"] - np.einsum("cr,r->c", model["centres"], short)
    near = np.argsort(far, kind="stable").astype(np.int32)
    ranges = [segment.ranges(near) for segment in segments]
    seen = np.cumsum(sum(ends - begins for begins, ends in ranges))
    visited = max(VISITED, int(np.searchsorted(seen, SCORED)) + 1)
    scaled = np.einsum("d,dr->r", vector, rotation) * model["steps"]
    step = max(float(np.abs(scaled).max(initial=0.0)), 1e-30) / _FINE_LEVELS
    whole = np.rint(scaled / step).astype(np.int16)
    of_mean = float(np.einsum("d,d->", vector, mean))
    scores = []
    for segment, of_all in zip(segments, ranges, strict=True):
        begins, ends = (bounds[:visited] for bounds in of_all)
        rows = np.concatenate([segment.owners[a:b] for a, b in zip(begins, ends, strict=True)])
        products = dots(segment.codes, begins, ends, whole).astype(np.float64)
        scores.append(SegmentScores(rows, products * step + of_mean))
    return scores


def _directions(mean: Vectors, apart: Vectors) -> Vectors:
    """``(D, d)`` float32: the direction of the mean, and the principal directions of the differences from it."""
    first = mean / max(float(np.linalg.norm(mean)), 1e-12)
    others = apart - np.outer(apart @ first, first)
    _, axes = np.linalg.eigh((others.T @ others).astype(np.float64))
    most = axes[:, ::-1][:, : min(DIRECTIONS, len(mean)) - 1]
    return np.concatenate([first[:, None], most], axis=1).astype(np.float32)


def _unit(features: Features) -> Vectors:
    assert isinstance(features, GlobalFeatures)  # noqa: S101 - narrows the type
    lengths = np.linalg.norm(features.vectors, axis=1, keepdims=True)
    directions: Vectors = (features.vectors / np.maximum(lengths, 1e-12)).astype(np.float32, copy=False)
    return directions
