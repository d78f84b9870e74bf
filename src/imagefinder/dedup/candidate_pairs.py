"""Proposes candidate pairs of duplicates without comparing all images with all others.

Each descriptor (for global methods: each vector) is encoded as a binary code, the signs of random projections: the
closer two vectors, the fewer of their bits differ. The codes are sorted, and each code is compared with the few
that follow it; this is repeated several times with other leading bits. Two codes that are adjacent in one of these
orders and differ in few bits vote for the pair of their images. The number of comparisons per image is fixed.
Descriptors that occur thousands of times (a watermark, the letters of a font) cost no more than others, because
only neighbours are compared.

Memory: the codes, 2.4 kB for an image with many keypoints, and about twice as much again during sorting. Features
are read block by block. For measurements see ``docs/concepts/duplicates.md``.

Sources. M. Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002 (signs of projections,
sorted orders). H. Jégou, M. Douze, C. Schmid, "Hamming embedding and weak geometric consistency", ECCV 2008
(descriptors vote, filtered by their bits). W.-L. Zhao, C.-W. Ngo, "Flip-invariant SIFT for copy and object
detection", IEEE TIP 22(3), 2013 (a descriptor or its mirror image is chosen by content).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Store
from imagefinder.core.features import Features, LocalFeatures
from imagefinder.core.method import Method

PAIRS_KEPT = 10
"""Number of pairs kept per image; a pair is kept if it is among the best of either image."""

DESCRIPTORS = 150
"""Number of descriptors used per image, those of the largest keypoints, which survive blur and downscaling."""

VOTES = 6
"""Minimum number of votes of a pair; two descriptors may vote once in each sort order."""

_SAMPLE, _SAMPLE_PER_IMAGE = 20_000, 20
"""Number of vectors used to fit the coder, in all and per image."""

_EVEN = 0.05
"""Regularisation of the partial whitening, as a fraction of the mean variance."""

_PAIRS_PER_IMAGE = 64
"""Number of pairs per image in memory during voting; those with the fewest votes are dropped."""

_AT_ONCE = 1 << 20
"""Number of codes compared in one step."""

_SEED = 20_04


@dataclass(frozen=True, slots=True)
class Plan:
    """Parameters of the codes of one kind of features.

    Attributes:
        words: Number of 64-bit words in a code.
        orders: Number of sort orders.
        window: Number of following codes that each code is compared with.
        max_distance: Maximum Hamming distance of codes that vote for a pair.
    """

    words: int
    orders: int
    window: int
    max_distance: int


LOCAL = Plan(words=2, orders=8, window=8, max_distance=32)
"""32 of 128 bits correspond to an angle of 45 degrees, seen from the mean; matches of edited copies are mostly
closer."""

GLOBAL = Plan(words=8, orders=64, window=8, max_distance=192)
"""An image has only one vector, so more sort orders are affordable. 192 of 512 bits correspond to 67 degrees."""


def candidate_pairs(
    store: Store, method: Method, rows: dict[str, int], *, progress: Callable[[int], None] | None = None
) -> NDArray[np.int64]:
    """The candidate pairs that one method proposes.

    Args:
        store: The store of the images.
        method: The method whose features are compared; it must be registered in the store.
        rows: Image id -> number of the image, 0 to N - 1; other images are ignored.
        progress: Called with the number of images read so far.

    Returns:
        ``(P, 2)`` int64: numbers of images, the smaller first, sorted; P is at most ``PAIRS_KEPT`` times N.
    """
    coder = _coder(store, method, rows)
    if coder is None:
        return np.empty((0, 2), dtype=np.int64)
    codes, owners, done = [], [], 0
    for block in _blocks(store, method, rows, DESCRIPTORS):
        codes.append(coder.encode(block.vectors, block.mirrored))
        owners.append(block.owners)
        done += block.images
        if progress:
            progress(done)
    keys, weights = _close(np.concatenate(codes), np.concatenate(owners), len(rows), coder.plan)
    if coder.plan is LOCAL:
        keys, weights = keys[weights >= VOTES], weights[weights >= VOTES]
    return _best(keys, weights, len(rows))


# -- vectors to codes ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Vectors of some images.

    Attributes:
        vectors: ``(N, D)`` float32.
        mirrored: ``(N, D)`` float32, vectors of the mirror images; ``None`` if the method cannot flip features.
        owners: ``(N,)`` int64, number of the image of each vector.
        images: Number of images read.
    """

    vectors: NDArray[np.float32]
    mirrored: NDArray[np.float32] | None
    owners: NDArray[np.int64]
    images: int


@dataclass(frozen=True, slots=True, eq=False)
class _Coder:
    """Encodes vectors as binary codes.

    Attributes:
        plan: Parameters of the codes.
        mean: ``(D,)`` float32, subtracted first, because vectors of positive numbers all point in a similar
            direction.
        planes: ``(D, 64 * words)`` float32, the projections.
        odd: ``(D,)`` float32. A vector or its mirror image is encoded, whichever has the greater product with it,
            so that mirrored copies get the same codes; ``None``: vectors are encoded as they are.
    """

    plan: Plan
    mean: NDArray[np.float32]
    planes: NDArray[np.float32]
    odd: NDArray[np.float32] | None

    def encode(self, vectors: NDArray[np.float32], mirrored: NDArray[np.float32] | None) -> NDArray[np.uint64]:
        """Encode vectors: ``(N, words)`` uint64; the first bit of a word is its most significant one."""
        signs = (_upright(vectors, mirrored, self.odd) - self.mean) @ self.planes > 0
        return np.packbits(signs, axis=1).view(">u8").astype(np.uint64)


def _coder(store: Store, method: Method, rows: dict[str, int]) -> _Coder | None:
    """A coder fitted to a sample; ``None`` if there are no vectors."""
    taken, mirrored = [], []
    for block in _blocks(store, method, rows, _SAMPLE_PER_IMAGE):
        taken.append(block.vectors)
        if block.mirrored is not None:
            mirrored.append(block.mirrored)
        if sum(map(len, taken)) >= _SAMPLE:
            break
    local = method.extractor.spec.kind == "local"
    if not sum(map(len, taken)):
        return None
    plan = LOCAL if local else GLOBAL
    vectors, odd = np.concatenate(taken), None
    if mirrored:
        others = np.concatenate(mirrored)
        # A vector and its mirror image differ most along this axis, so noise rarely changes which one is chosen.
        odd = np.linalg.eigh((others - vectors).T @ (others - vectors))[1][:, -1].astype(np.float32)
        vectors = _upright(vectors, others, odd)
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    planes = np.random.default_rng(_SEED).standard_normal((len(mean), 64 * plan.words))
    if local:
        planes = _evened(vectors - mean) @ planes
    return _Coder(plan, mean, planes.astype(np.float32), odd)


def _evened(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """``(D, D)`` float64, partial whitening: scales principal axes by the fourth root of the precision."""
    spread, axes = np.linalg.eigh((vectors.T @ vectors).astype(np.float64) / len(vectors))
    scales: NDArray[np.float64] = axes / (np.maximum(spread, 0) + _EVEN * spread.mean() + 1e-12) ** 0.25
    return scales


def _upright(
    vectors: NDArray[np.float32], mirrored: NDArray[np.float32] | None, odd: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    if mirrored is None or odd is None:
        return vectors
    return np.where(((mirrored - vectors) @ odd > 0)[:, None], mirrored, vectors)


def _blocks(store: Store, method: Method, rows: dict[str, int], per_image: int) -> Iterator[_Block]:
    for block in store.scan(method.name):
        numbers = np.array([rows.get(image_id, -1) for image_id in block.ids], dtype=np.int64)
        chosen, owners = _largest(block.features, numbers, per_image)
        yield _Block(
            vectors=_vectors(block.features)[chosen].astype(np.float32),
            mirrored=_mirrored(method, block.features, chosen),
            owners=owners,
            images=int(np.count_nonzero(numbers >= 0)),
        )


def _largest(
    features: Features, numbers: NDArray[np.int64], per_image: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the vectors to use, those of the largest keypoints, and the number of the image of each."""
    if not isinstance(features, LocalFeatures):
        chosen = np.flatnonzero(numbers >= 0)
        return chosen, numbers[chosen]
    owners = np.repeat(numbers, np.diff(features.offsets))
    order = np.lexsort((-features.keypoints[:, 2], owners))
    owners = owners[order]
    rank = np.arange(len(owners)) - np.searchsorted(owners, owners)
    kept = (rank < per_image) & (owners >= 0)
    return order[kept], owners[kept]


def _vectors(features: Features) -> NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.int8]:
    return features.descriptors if isinstance(features, LocalFeatures) else features.vectors


def _mirrored(method: Method, features: Features, chosen: NDArray[np.int64]) -> NDArray[np.float32] | None:
    if method.mirror is None or not isinstance(features, LocalFeatures):
        return None
    descriptors: Any = features.descriptors[chosen]
    part = LocalFeatures(descriptors, features.keypoints[chosen], np.array([0, len(chosen)], dtype=np.int64))
    # Only the positions depend on the width, and they are not used.
    return _vectors(method.mirror(part, 1)).astype(np.float32)


# -- codes to pairs ------------------------------------------------------------------------------------------


def _close(
    codes: NDArray[np.uint64], owners: NDArray[np.int64], images: int, plan: Plan
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of images with close codes, as ``first * images + second``, and the weight of each pair.

    The weight is the number of votes for local features, and the number of equal bits for global features.
    """
    keys, weights = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    for number in range(plan.orders):
        order = np.argsort(_from_bit(codes, number * 64 * plan.words // plan.orders), kind="stable")
        for begin in range(0, len(order), _AT_ONCE):
            found, bits = _neighbours(codes, owners, order[begin : begin + _AT_ONCE + plan.window], images, plan)
            if plan is LOCAL:
                keys, weights = _added(keys, weights, found, np.ones_like(bits))
            else:
                keys, first = np.unique(np.concatenate([keys, found]), return_index=True)
                weights = np.concatenate([weights, bits])[first]
        keys, weights = _bounded(keys, weights, _PAIRS_PER_IMAGE * images)
    return keys, weights


def _from_bit(codes: NDArray[np.uint64], bit: int) -> NDArray[np.uint64]:
    """64 bits of each code, starting at ``bit`` and wrapping around."""
    word, shift = divmod(bit, 64)
    first, second = codes[:, word], codes[:, (word + 1) % codes.shape[1]]
    if shift == 0:
        return first
    return (first << np.uint64(shift)) | (second >> np.uint64(64 - shift))


def _neighbours(
    codes: NDArray[np.uint64], owners: NDArray[np.int64], order: NDArray[np.int64], images: int, plan: Plan
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    sorted_codes, sorted_owners = codes[order], owners[order]
    keys, bits = [], []
    for step in range(1, min(plan.window, len(order) - 1) + 1):
        a, b = sorted_owners[:-step], sorted_owners[step:]
        differ = np.bitwise_count(sorted_codes[:-step] ^ sorted_codes[step:]).sum(axis=1, dtype=np.int64)
        close = np.flatnonzero((differ <= plan.max_distance) & (a != b))
        keys.append(np.minimum(a[close], b[close]) * images + np.maximum(a[close], b[close]))
        bits.append(64 * plan.words - differ[close])
    none = np.empty(0, dtype=np.int64)
    return np.concatenate([none, *keys]), np.concatenate([none, *bits])


def _added(
    keys: NDArray[np.int64], weights: NDArray[np.int64], more: NDArray[np.int64], votes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    joined, places = np.unique(np.concatenate([keys, more]), return_inverse=True)
    sums = np.bincount(places, weights=np.concatenate([weights, votes]), minlength=len(joined))
    return joined, sums.astype(np.int64)


def _bounded(
    keys: NDArray[np.int64], weights: NDArray[np.int64], limit: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if len(keys) <= limit:
        return keys, weights
    kept = np.sort(np.argsort(-weights, kind="stable")[:limit])
    return keys[kept], weights[kept]


def _best(keys: NDArray[np.int64], weights: NDArray[np.int64], images: int) -> NDArray[np.int64]:
    """The pairs that are among the ``PAIRS_KEPT`` best of either image."""
    pairs = np.stack([keys // images, keys % images], axis=1)
    ours, theirs = np.concatenate([pairs[:, 0], pairs[:, 1]]), np.concatenate([pairs[:, 1], pairs[:, 0]])
    order = np.lexsort((theirs, -np.concatenate([weights, weights]), ours))
    rank = np.arange(len(order)) - np.searchsorted(ours[order], ours[order])
    kept = np.unique(order[rank < PAIRS_KEPT] % max(1, len(keys)))
    return pairs[kept]
