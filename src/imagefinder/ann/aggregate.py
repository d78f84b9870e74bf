"""Aggregation: one short vector per image, whose inner products with other vectors estimate similarity.

SIFT descriptors are transformed to RootSIFT, tokens to directions, and both are projected onto their principal
directions. The descriptors of an image then become a VLAD: for each of some centres, the sum of the differences of
the nearest descriptors from it, scaled to length 1. The VLAD, or the direction of a global vector, is projected
onto the principal directions of a sample of the collection.

Sources: H. Jégou et al., "Aggregating local descriptors into a compact image representation", CVPR 2010 (VLAD);
R. Arandjelović, A. Zisserman, "Three things everyone should know to improve object retrieval", CVPR 2012
(RootSIFT), and "All about VLAD", CVPR 2013 (lengths per centre); H. Jégou, O. Chum, "Negative evidences and
co-occurrences in image retrieval", ECCV 2012 (whitening, here by half).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from imagefinder.ann.arrays import Arrays
from imagefinder.ann.codec import check_shapes
from imagefinder.core.contracts import Store
from imagefinder.core.features import Features, FeatureSpec, GlobalFeatures, LocalFeatures
from imagefinder.kernels.products import product

VERSION = 1
"""Version of the vectors; any change of the computation raises it."""

DIM = 512
"""Largest dimension of a vector."""

CENTRES, REDUCED_DIM = 128, 64
"""Number of centres, and largest dimension of the descriptors compared with them. They find more than 64 centres
for all 128 dimensions of SIFT, with as many values."""

SAMPLE_IMAGES = 2048
SAMPLE_DESCRIPTORS = 1 << 16
"""Largest numbers of images and of their descriptors to train on."""

_ROUNDS = 12
_READ_AT_ONCE = 64
_ROWS_AT_ONCE = 1 << 14
_WHITENING = {"local": 0.5, "global": 0.25}
"""Exponents of whitening: 0 keeps all variances, 1 makes them equal. For networks, more finds fewer of the images
with the highest exact scores."""

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Aggregation:
    """A trained aggregation of features of one spec.

    Attributes:
        spec: Kind, dimension and dtype of the features.
        arrays: The trained arrays, float32. ``mean`` ``(R,)`` and ``projection`` ``(R, E)``; for local features
            also ``reduction`` ``(D, d)`` and ``centres`` ``(C, d)``, where ``R = C * d``.
    """

    spec: FeatureSpec
    arrays: Arrays

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return int(self.arrays["projection"].shape[1])

    def vectors(self, features: Features) -> NDArray[np.float16]:
        """The vectors of images: ``(B, E)`` float16 of length 1, or zeros for an image without descriptors."""
        found = np.zeros((len(features), self.dim), dtype=np.float16)
        for begin in range(0, len(features), _READ_AT_ONCE):
            some = [features.image(row) for row in range(begin, min(begin + _READ_AT_ONCE, len(features)))]
            raw = np.concatenate([self._raw(one) for one in some])
            projected = product(raw - self.arrays["mean"], self.arrays["projection"])
            projected[~raw.any(axis=1)] = 0
            found[begin : begin + len(some)] = _directions(projected)
        return found

    def to_bytes(self) -> bytes:
        """The aggregation as bytes, which ``from_bytes`` reads."""
        data: bytes = safetensors.numpy.save({**self.arrays, "version": np.array(VERSION)})
        return zlib.crc32(data).to_bytes(4, "little") + data

    @classmethod
    def from_bytes(cls, data: bytes, spec: FeatureSpec) -> Aggregation:
        """An aggregation from its bytes.

        Raises:
            ValueError: the data are damaged, of another version, or belong to another spec.
        """
        if zlib.crc32(data[4:]).to_bytes(4, "little") != data[:4]:
            raise ValueError("the data are damaged, or not those of an aggregation")
        try:
            arrays = safetensors.numpy.load(data[4:])
        except (SafetensorError, KeyError) as error:
            raise ValueError("the data are not those of an aggregation") from error
        version = arrays.pop("version", None)
        if version is None or version.shape or version != VERSION:
            raise ValueError(f"the data are of version {version} instead of {VERSION}")
        if spec.kind == "global":
            check_shapes(arrays, {"mean": "D", "projection": "DE"}, {"D": spec.dim})
            return cls(spec, arrays)
        shapes = {"reduction": "Dd", "centres": "Cd", "mean": "R", "projection": "RE"}
        check_shapes(arrays, shapes, {"D": spec.dim})
        if arrays["centres"].size != arrays["mean"].size:
            raise ValueError("the centres and the projection are for another number of values")
        return cls(spec, arrays)

    def _raw(self, features: Features) -> Matrix:
        """The vector of one image before its projection: ``(1, R)`` float32."""
        if isinstance(features, GlobalFeatures):
            return _directions(features.vectors)
        centres = self.arrays["centres"]
        if not len(features.descriptors):
            return np.zeros((1, centres.size), dtype=np.float32)
        rows = product(_normalised(features), self.arrays["reduction"])
        nearest = _nearest(rows, centres)
        order = np.argsort(nearest, kind="stable")
        chosen, starts = np.unique(nearest[order], return_index=True)
        sums = np.zeros_like(centres)
        sums[chosen] = np.add.reduceat(rows[order] - centres[nearest[order]], starts, axis=0)
        return _directions(_directions(sums).reshape(1, -1))


def train(store: Store, method: str, spec: FeatureSpec) -> Aggregation:
    """Train an aggregation on a sample of a collection; deterministic for the same sample.

    The sample has at most ``SAMPLE_IMAGES`` images, which are read twice, a few at once.

    Raises:
        MethodNotIndexedError: the store has no features of the method.
        CollectionCorruptError: features do not match their checksum.
    """
    ids = store.sample(method, SAMPLE_IMAGES)

    def images() -> Iterator[Features]:
        for begin in range(0, len(ids), _READ_AT_ONCE):
            features = store.select(method, ids[begin : begin + _READ_AT_ONCE]).features
            yield from (features.image(row) for row in range(len(features)))

    return train_on(images, len(ids), spec)


def train_on(images: Callable[[], Iterator[Features]], many: int, spec: FeatureSpec) -> Aggregation:
    """Train an aggregation on images.

    Args:
        images: Returns the features of each image, as batches of one; called twice.
        many: Number of images.
        spec: Kind, dimension and dtype of the features.
    """
    arrays: Arrays = {}
    if spec.kind == "local":
        rows = _some_descriptors(images(), many, spec)
        width = min(spec.dim, REDUCED_DIM)
        arrays["reduction"] = np.ascontiguousarray(_principal(rows)[:, :width])
        arrays["centres"] = _centres(rows @ arrays["reduction"])
        size = arrays["centres"].size
    else:
        size = spec.dim
    arrays["mean"] = np.zeros(size, dtype=np.float32)
    arrays["projection"] = np.zeros((size, min(DIM, size)), dtype=np.float32)
    raw = [Aggregation(spec, arrays)._raw(one) for one in images()]
    sample = np.concatenate([one for one in raw if one.any()] or [np.zeros((1, size), dtype=np.float32)])
    arrays["mean"] = sample.mean(axis=0)
    arrays["projection"] = _whitened(sample - arrays["mean"], min(DIM, size), _WHITENING[spec.kind])
    return Aggregation(spec, arrays)


def _directions(vectors: Matrix) -> Matrix:
    """The vectors scaled to length 1; zeros stay zeros."""
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
    return np.divide(vectors, np.where(lengths > 0, lengths, np.float32(1)), dtype=np.float32)


def _normalised(features: LocalFeatures) -> Matrix:
    """RootSIFT of SIFT descriptors (uint8); the directions of tokens."""
    rows = features.descriptors.astype(np.float32)
    if features.descriptors.dtype == np.uint8:
        roots: Matrix = np.sqrt(rows / np.maximum(rows.sum(axis=1, keepdims=True), 1))
        return roots
    return _directions(rows)


def _nearest(rows: Matrix, centres: Matrix) -> NDArray[np.int64]:
    """The centre nearest to each row; of equally near ones the first."""
    halves = np.einsum("cd,cd->c", centres, centres) / 2
    nearest: NDArray[np.int64] = (product(rows, centres.T) - halves).argmax(axis=1)
    return nearest


def _some_descriptors(images: Iterator[Features], many: int, spec: FeatureSpec) -> Matrix:
    """Normalised descriptors of all images, about equally many of each."""
    rng, most = np.random.default_rng(0), max(1, SAMPLE_DESCRIPTORS // max(1, many))
    found = [np.zeros((0, spec.dim), dtype=np.float32)]
    for one in images:
        assert isinstance(one, LocalFeatures)  # noqa: S101 - narrows the type
        rows = _normalised(one)
        found.append(rows[np.sort(rng.choice(len(rows), min(most, len(rows)), replace=False))])
    return np.concatenate(found)


def _centres(rows: Matrix) -> Matrix:
    """Centres of at most ``CENTRES`` clusters by k-means; one at the origin without rows."""
    many = max(1, min(CENTRES, len(rows) // 2))
    if len(rows) < many:
        return np.zeros((1, rows.shape[1]), dtype=np.float32)
    centres = rows[np.random.default_rng(0).choice(len(rows), many, replace=False)]
    for _ in range(_ROUNDS):
        parts = range(0, len(rows), _ROWS_AT_ONCE)
        owner = np.concatenate([_nearest(rows[begin : begin + _ROWS_AT_ONCE], centres) for begin in parts])
        order = np.argsort(owner, kind="stable")
        counts = np.bincount(owner, minlength=many)
        filled = np.flatnonzero(counts)
        starts = (np.cumsum(counts) - counts)[filled]
        centres = centres.copy()
        centres[filled] = np.add.reduceat(rows[order], starts, axis=0) / counts[filled, None]
    return centres


def _principal(rows: Matrix) -> Matrix:
    """Principal directions of rows, ``(D, D)``, those of the largest variance first."""
    centred = rows - rows.mean(axis=0) if len(rows) else rows
    directions: Matrix = np.linalg.eigh(centred.T @ centred)[1]
    return directions[:, ::-1]


def _whitened(centred: Matrix, many: int, exponent: float) -> Matrix:
    """Principal directions of centred rows, ``(R, many)``, scaled to reduce the differences of their variances.

    A sample of few rows has fewer principal directions; random ones, orthogonal to them, complete the projection.
    """
    # The eigenvectors of the matrix of inner products take less memory than those of the covariance.
    values, vectors = np.linalg.eigh(centred @ centred.T)
    kept = np.argsort(-values, kind="stable")[:many]
    kept = kept[values[kept] > max(float(values.max()), 1e-12) * 1e-4]
    spread = np.sqrt(values[kept])
    directions = (centred.T @ vectors[:, kept]) / spread
    scale = (spread / np.sqrt(len(centred))) ** -exponent
    if len(kept) < many:
        rest = np.random.default_rng(0).standard_normal((centred.shape[1], many - len(kept)), dtype=np.float32)
        rest -= directions @ (directions.T @ rest)
        rest /= np.maximum(np.linalg.norm(rest, axis=0), 1e-12)
        directions = np.concatenate([directions, rest], axis=1)
        scale = np.append(scale, np.full(many - len(kept), scale.min() if len(scale) else 1))
    projection: Matrix = (directions * scale).astype(np.float32)
    return projection
