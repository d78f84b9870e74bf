"""For every picture of a collection the few others that may show the same, without comparing all with all.

Each descriptor (of a global method: each vector) becomes a code of bits, the signs of random projections: the
nearer two vectors, the fewer of their bits differ. Codes are sorted, and each is compared with the few that stand
next to it; then they are sorted again, beginning with other bits, several times. What stands close in one of these
orders and differs in few bits speaks for the pair of pictures. All of that is a fixed number of comparisons per
picture. Where thousands of descriptors are the same (a watermark, the letters of a font) only neighbours are
compared, so they cost no more than others.

Memory: the codes, 2.4 kB for a picture with many keypoints, and while they are sorted about twice as much again.
Features are read block by block. What was measured stands in ``docs/concepts/duplicates.md``.

Sources. M. Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002 (signs of projections,
sorted orders). H. Jégou, M. Douze, C. Schmid, "Hamming embedding and weak geometric consistency", ECCV 2008
(descriptors vote, filtered by their bits). W.-L. Zhao, C.-W. Ngo, "Flip-invariant SIFT for copy and object
detection", IEEE TIP 22(3), 2013 (of a descriptor and its mirror image one is chosen by its content).
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
"""So many are kept of each picture; a pair stays if either has the other among its own."""

DESCRIPTORS = 150
"""So many of a picture's descriptors take part: those of the largest keypoints; blur and reduction leave them."""

VOTES = 6
"""So many votes of descriptors make a pair; the same two may vote once in each order."""

_SAMPLE, _SAMPLE_PER_IMAGE = 20_000, 20
"""Vectors that means and axes are taken of."""

_EVEN = 0.05
"""Axes along which vectors hardly differ are not stretched as if they differed by less than this (of the mean)."""

_PAIRS_PER_IMAGE = 64
"""Pairs remembered while votes are counted; those with the fewest votes give way."""

_AT_ONCE = 1 << 20
"""Codes compared in one step."""

_SEED = 20_04


@dataclass(frozen=True, slots=True)
class Plan:
    """How codes of one kind of features are made and compared.

    Attributes:
        words: Of 64 bits in a code.
        orders: So often the codes are sorted.
        window: Each code is compared with so many that follow it.
        max_distance: Codes that differ in at most this many bits vote for a pair.
    """

    words: int
    orders: int
    window: int
    max_distance: int


LOCAL = Plan(words=2, orders=8, window=8, max_distance=32)
"""32 of 128 bits are an angle of 45 degrees as seen from the mean: matches of edited copies are mostly closer."""

GLOBAL = Plan(words=8, orders=64, window=8, max_distance=192)
"""A picture has one vector only and can afford more orders. 192 of 512 bits are 67 degrees."""


def candidate_pairs(
    store: Store, method: Method, rows: dict[str, int], *, progress: Callable[[int], None] | None = None
) -> NDArray[np.int64]:
    """The pairs of pictures that one method proposes.

    Args:
        store: Holds the pictures.
        method: The method whose features are compared; the store must know it.
        rows: Id -> number of the picture, 0 to N - 1; others do not take part.
        progress: Called with the number of pictures read so far.

    Returns:
        ``(P, 2)`` int64: numbers of pictures, the smaller first, sorted; P is at most ``PAIRS_KEPT`` times N.
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
    """Vectors of some pictures.

    Attributes:
        vectors: ``(N, D)`` float32.
        mirrored: The same of the mirrored pictures, if the method can mirror.
        owners: ``(N,)`` int64, numbers of the pictures.
        images: How many pictures were read.
    """

    vectors: NDArray[np.float32]
    mirrored: NDArray[np.float32] | None
    owners: NDArray[np.int64]
    images: int


@dataclass(frozen=True, slots=True, eq=False)
class _Coder:
    """Vectors to codes.

    Attributes:
        plan: How many bits.
        mean: ``(D,)``, taken off first: vectors of positive numbers all point the same way otherwise.
        planes: ``(D, 64 * words)``.
        odd: ``(D,)``. Of a vector and its mirror image the one is coded that has the greater product with it, so
            that mirrored copies get the same codes; ``None`` where vectors are coded as they are.
    """

    plan: Plan
    mean: NDArray[np.float32]
    planes: NDArray[np.float32]
    odd: NDArray[np.float32] | None

    def encode(self, vectors: NDArray[np.float32], mirrored: NDArray[np.float32] | None) -> NDArray[np.uint64]:
        """``(N, words)``; the first bit of a word is its highest."""
        signs = (_upright(vectors, mirrored, self.odd) - self.mean) @ self.planes > 0
        return np.packbits(signs, axis=1).view(">u8").astype(np.uint64)


def _coder(store: Store, method: Method, rows: dict[str, int]) -> _Coder | None:
    """Fitted to a sample; ``None`` where there is nothing to code."""
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
        # Along this axis a vector and its mirror image differ most, so noise seldom changes which of them it is.
        odd = np.linalg.eigh((others - vectors).T @ (others - vectors))[1][:, -1].astype(np.float32)
        vectors = _upright(vectors, others, odd)
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    planes = np.random.default_rng(_SEED).standard_normal((len(mean), 64 * plan.words))
    if local:
        planes = _evened(vectors - mean) @ planes
    return _Coder(plan, mean, planes.astype(np.float32), odd)


def _evened(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """``(D, D)``: stretches axes by the root of how little vectors differ along them; half way to whitening."""
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
    """Rows of the vectors that take part, and whose they are; of global features all."""
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
    # Only the places depend on the width, and they are not looked at.
    return _vectors(method.mirror(part, 1)).astype(np.float32)


# -- codes to pairs ------------------------------------------------------------------------------------------


def _close(
    codes: NDArray[np.uint64], owners: NDArray[np.int64], images: int, plan: Plan
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of pictures with close codes: ``first * images + second``, and what speaks for each.

    That is the number of votes for local features, and the number of equal bits for global ones.
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
    """The 64 bits of each code that begin with this one, round the end."""
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
    """The pairs in which either picture has the other among its ``PAIRS_KEPT`` best."""
    pairs = np.stack([keys // images, keys % images], axis=1)
    ours, theirs = np.concatenate([pairs[:, 0], pairs[:, 1]]), np.concatenate([pairs[:, 1], pairs[:, 0]])
    order = np.lexsort((theirs, -np.concatenate([weights, weights]), ours))
    rank = np.arange(len(order)) - np.searchsorted(ours[order], ours[order])
    kept = np.unique(order[rank < PAIRS_KEPT] % max(1, len(keys)))
    return pairs[kept]
