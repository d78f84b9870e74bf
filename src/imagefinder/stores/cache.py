"""Cache features in memory between scans, and update them incrementally."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.features import Features, GlobalFeatures, LocalFeatures, concatenate
from imagefinder.core.records import Changes, Cursor, GalleryBlock

BLOCK_BYTES = 32 << 20
_BYTES_PER_IMAGE = 200
"""Approximate overhead of the id and bookkeeping of an image."""
_SCANS_UNTIL_STALE = 8

Keys = NDArray[np.int64]


class FeatureSource(Protocol):
    """Reads the features of one method. A key always refers to the same features."""

    @property
    def key(self) -> int:
        """Key of the method."""
        ...

    def changes(self, since: Cursor | None) -> tuple[Changes, int]:
        """Changes since a cursor, and the number of images after them."""
        ...

    def load(self, keys: Keys, cursor: Cursor) -> tuple[Keys, GalleryBlock]:
        """Load the features of keys listed at a cursor that still exist, in ascending order of keys."""
        ...


@dataclass(slots=True, eq=False)
class _Segment:
    """A range of keys that is read and yielded together.

    Attributes:
        keys: Ascending keys, at least one.
        sizes: Bytes of each image.
        block: The images, if cached.
        reading: Lock of the thread that reads the segment; others wait for it.
    """

    keys: Keys
    sizes: Keys
    block: GalleryBlock | None = None
    reading: threading.Lock = field(default_factory=threading.Lock)

    @property
    def nbytes(self) -> int:
        return int(self.sizes.sum())

    def without(self, gone: Keys) -> _Segment | None:
        """The segment without deleted keys (ascending); ``None`` if none is left."""
        kept = ~_contains(gone, self.keys)
        if kept.all():
            return self
        if not kept.any():
            return None
        return _Segment(self.keys[kept], self.sizes[kept], self.block and _select(self.block, kept))


@dataclass(slots=True)
class _Gallery:
    """The cached features of one method: segments in the order in which their keys were reported."""

    segments: list[_Segment] = field(default_factory=list)
    cursor: Cursor | None = None
    used: int = 0

    @property
    def images(self) -> int:
        """Number of images in the segments."""
        return sum(len(segment.keys) for segment in self.segments)

    def apply(self, changes: Changes) -> None:
        """Apply changes to the segments."""
        if changes.complete:
            self.segments = []
        fresh = ~self._knows(changes.new)
        if fresh.any():
            sizes = changes.sizes[fresh] + _BYTES_PER_IMAGE
            self.segments = [*self.segments, *_split(changes.new[fresh], sizes)]
        if len(changes.gone):
            gone = np.sort(changes.gone)
            self.segments = [kept for segment in self.segments if (kept := segment.without(gone))]
        self.cursor = changes.cursor
        if len(self.segments) > 16 + 2 * sum(segment.nbytes for segment in self.segments) // BLOCK_BYTES:
            self.segments = _merge(self.segments)

    def _knows(self, keys: Keys) -> NDArray[np.bool_]:
        """Boolean mask of the ascending ``keys`` that are in a segment; a feed may report keys repeatedly."""
        known = np.zeros(len(keys), dtype=np.bool_)
        for segment in self.segments if len(keys) else ():
            if segment.keys[-1] >= keys[0]:
                known |= _contains(segment.keys, keys)
        return known


class FeatureCache:
    """Yields the images of a method in blocks, and caches as many of them as fit.

    Blocks that do not fit are read again in every scan; evicting the oldest blocks instead would evict each block
    just before the next scan needs it. Methods not used by the latest scans are evicted.
    """

    def __init__(self, limit: int) -> None:
        """Limit the cache to ``limit`` bytes for all methods together."""
        self.limit = limit
        self._lock = threading.Lock()
        self._galleries: dict[int, _Gallery] = {}
        self._scans = 0

    @property
    def nbytes(self) -> int:
        """Bytes cached."""
        with self._lock:
            return self._cached_bytes()

    def scan(self, source: FeatureSource, methods: Sequence[int]) -> Iterator[GalleryBlock]:
        """Yield all images of a method in their state at the first ``next`` call.

        Args:
            source: Reads features that are not cached.
            methods: Keys of the existing methods; other methods are evicted.
        """
        with self._lock:
            self._scans += 1
            self._galleries = {key: kept for key, kept in self._galleries.items() if key in methods}
            gallery = self._galleries.setdefault(source.key, _Gallery())
            gallery.used = self._scans
            changes, images = source.changes(gallery.cursor)
            gallery.apply(changes)
            if gallery.images != images:  # an index or a count is damaged; listing everything finds out which
                gallery.apply(source.changes(None)[0])
            segments, cursor = list(gallery.segments), gallery.cursor or ""
        # The lock is released while the consumer works. Changes meanwhile create new segments and do not modify
        # these.
        for segment in segments:
            block = segment.block or self._read(source, gallery, segment, cursor)
            if block.ids:
                yield block

    def _read(self, source: FeatureSource, gallery: _Gallery, segment: _Segment, cursor: Cursor) -> GalleryBlock:
        with segment.reading:
            if segment.block:
                return segment.block
            keys, block = source.load(segment.keys, cursor)
            with self._lock:
                if block.ids and segment in gallery.segments and self._evict_for(segment.nbytes):
                    # Images deleted between listing and reading are missing.
                    segment.sizes = segment.sizes[_contains(keys, segment.keys)]
                    segment.keys = keys
                    segment.block = block
            return block

    def _evict_for(self, nbytes: int) -> bool:
        for gallery in sorted(self._galleries.values(), key=lambda gallery: gallery.used):
            if self._cached_bytes() + nbytes <= self.limit or gallery.used > self._scans - _SCANS_UNTIL_STALE:
                break
            for segment in gallery.segments:
                segment.block = None
        return self._cached_bytes() + nbytes <= self.limit

    def _cached_bytes(self) -> int:
        return sum(
            segment.nbytes
            for gallery in self._galleries.values()
            for segment in gallery.segments
            if segment.block is not None
        )


def _split(keys: Keys, sizes: Keys) -> list[_Segment]:
    """Split keys into segments of about ``BLOCK_BYTES``."""
    begins = np.cumsum(sizes) - sizes
    cuts = np.flatnonzero(np.diff(begins // BLOCK_BYTES)) + 1
    return [_Segment(*pair) for pair in zip(np.split(keys, cuts), np.split(sizes, cuts), strict=True)]


def _merge(segments: list[_Segment]) -> list[_Segment]:
    """Join small adjacent segments, which result from single additions."""
    runs: list[list[_Segment]] = []
    size = 0
    for segment in segments:
        size += segment.nbytes
        if runs and size <= BLOCK_BYTES:
            runs[-1].append(segment)
        else:
            runs.append([segment])
            size = segment.nbytes
    return [run[0] if len(run) == 1 else _join(run) for run in runs]


def _join(run: list[_Segment]) -> _Segment:
    blocks = [segment.block for segment in run if segment.block]
    keys, sizes = np.concatenate([s.keys for s in run]), np.concatenate([s.sizes for s in run])
    if not (keys[:-1] < keys[1:]).all():  # from several writers at once: all of it is read again
        order = np.argsort(keys)
        return _Segment(keys[order], sizes[order])
    joined = _Segment(keys, sizes)
    if len(blocks) == len(run):  # otherwise all of it is read again
        ids = tuple(image_id for block in blocks for image_id in block.ids)
        features = concatenate(blocks[0].features.spec(), [block.features for block in blocks])
        joined.block = GalleryBlock(ids, _frozen(features))
    return joined


def _select(block: GalleryBlock, kept: NDArray[np.bool_]) -> GalleryBlock:
    ids = tuple(image_id for image_id, keep in zip(block.ids, kept, strict=True) if keep)
    features = block.features
    if isinstance(features, GlobalFeatures):
        return GalleryBlock(ids, _frozen(GlobalFeatures(features.vectors[kept])))
    counts = np.diff(features.offsets)
    rows = np.repeat(kept, counts)
    offsets = np.zeros(len(ids) + 1, dtype=np.int64)
    np.cumsum(counts[kept], out=offsets[1:])
    descriptors: Any = features.descriptors[rows]
    return GalleryBlock(ids, _frozen(LocalFeatures(descriptors, features.keypoints[rows], offsets)))


def _frozen(features: Features) -> Features:
    """Make the arrays read-only, because consumers share them."""
    arrays = (
        (features.vectors,)
        if isinstance(features, GlobalFeatures)
        else (features.descriptors, features.keypoints, features.offsets)
    )
    for array in arrays:
        array.flags.writeable = False
    return features


def _contains(ordered: Keys, keys: Keys) -> NDArray[np.bool_]:
    """Boolean mask of the ``keys`` that are in the ascending ``ordered``."""
    if not len(ordered):
        return np.zeros(len(keys), dtype=np.bool_)
    positions = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    found: NDArray[np.bool_] = ordered[positions] == keys
    return found
