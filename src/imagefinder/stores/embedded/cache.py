"""Features kept in memory between scans, brought up to date by what changed in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.features import Features, GlobalFeatures, LocalFeatures, concatenate
from imagefinder.core.records import Changes, GalleryBlock

BLOCK_BYTES = 32 << 20
_BYTES_PER_IMAGE = 200
"""About what an id and the bookkeeping take, beside the features."""
_SCANS_UNTIL_STALE = 8

Keys = NDArray[np.int64]


class Source(Protocol):
    """Where the features of one method are read. A key stands for the same features for ever."""

    @property
    def key(self) -> int:
        """Of the method."""
        ...

    def changes(self, revision: int, last: int, count: int) -> Changes | None:
        """What changed since ``revision``, when there were ``count`` keys up to ``last``; ``None``: nothing."""
        ...

    def load(self, keys: Keys, revision: int) -> tuple[Keys, GalleryBlock]:
        """Those features of these keys, listed at ``revision``, that are still there; in order of keys."""
        ...


@dataclass(slots=True, eq=False)
class _Segment:
    """A run of keys that is read and yielded together.

    Attributes:
        keys: Ascending, at least one.
        sizes: Bytes of each image.
        block: Its images, if they are kept in memory.
        reading: Held by the thread that reads it; others wait for the outcome.
    """

    keys: Keys
    sizes: Keys
    block: GalleryBlock | None = None
    reading: threading.Lock = field(default_factory=threading.Lock)

    @property
    def nbytes(self) -> int:
        return int(self.sizes.sum())

    def only(self, alive: Keys) -> _Segment | None:
        """Without the keys that are gone."""
        kept = _contains(alive, self.keys)
        if kept.all():
            return self
        if not kept.any():
            return None
        return _Segment(self.keys[kept], self.sizes[kept], self.block and _select(self.block, kept))


@dataclass(slots=True)
class _Gallery:
    """The features of one method: segments in ascending order of keys."""

    segments: list[_Segment] = field(default_factory=list)
    revision: int = -1
    last: int = 0
    used: int = 0

    def apply(self, changes: Changes) -> None:
        """Bring the segments to the present state."""
        if changes.alive is not None:
            alive = changes.alive
            self.segments = [kept for segment in self.segments if (kept := segment.only(alive))]
        if len(changes.new):
            self.segments += _split(changes.new, changes.sizes + _BYTES_PER_IMAGE)
            self.last = int(changes.new[-1])
        self.revision = changes.revision
        if len(self.segments) > 16 + 2 * sum(segment.nbytes for segment in self.segments) // BLOCK_BYTES:
            self.segments = _merge(self.segments)


class FeatureCache:
    """Yields the images of a method in blocks and keeps as many of them as fit.

    The first methods to be scanned stay; blocks that do not fit beside them are read at every scan (to throw out
    the oldest instead would, scan after scan, throw out each block just before it is needed). Methods that were
    not asked for during the last scans make room.
    """

    def __init__(self, limit: int) -> None:
        """Keep at most ``limit`` bytes, of all methods together."""
        self.limit = limit
        self._lock = threading.Lock()
        self._galleries: dict[int, _Gallery] = {}
        self._scans = 0

    @property
    def nbytes(self) -> int:
        """Bytes kept."""
        with self._lock:
            return self._kept()

    def scan(self, source: Source, methods: Sequence[int]) -> Iterator[GalleryBlock]:
        """All images of a method, as they were when the first block is asked for.

        Args:
            source: Reads what is not in memory.
            methods: Keys of the methods that exist; what is kept of others is dropped.
        """
        with self._lock:
            self._scans += 1
            self._galleries = {key: kept for key, kept in self._galleries.items() if key in methods}
            gallery = self._galleries.setdefault(source.key, _Gallery())
            gallery.used = self._scans
            count = sum(len(segment.keys) for segment in gallery.segments)
            changes = source.changes(gallery.revision, gallery.last, count)
            if changes:
                gallery.apply(changes)
            segments, revision = list(gallery.segments), gallery.revision
        # No lock is held while the consumer is at work. What changes meanwhile makes new segments, and leaves
        # these as they are.
        for segment in segments:
            block = segment.block or self._read(source, gallery, segment, revision)
            if block.ids:
                yield block

    def _read(self, source: Source, gallery: _Gallery, segment: _Segment, revision: int) -> GalleryBlock:
        with segment.reading:
            if segment.block:
                return segment.block
            keys, block = source.load(segment.keys, revision)
            with self._lock:
                if block.ids and segment in gallery.segments and self._make_room(segment.nbytes):
                    # Images that went between the listing and the reading are not in it.
                    segment.sizes = segment.sizes[_contains(keys, segment.keys)]
                    segment.keys = keys
                    segment.block = block
            return block

    def _make_room(self, wanted: int) -> bool:
        for gallery in sorted(self._galleries.values(), key=lambda gallery: gallery.used):
            if self._kept() + wanted <= self.limit or gallery.used > self._scans - _SCANS_UNTIL_STALE:
                break
            for segment in gallery.segments:
                segment.block = None
        return self._kept() + wanted <= self.limit

    def _kept(self) -> int:
        return sum(
            segment.nbytes
            for gallery in self._galleries.values()
            for segment in gallery.segments
            if segment.block is not None
        )


def _split(keys: Keys, sizes: Keys) -> list[_Segment]:
    """Into segments of about ``BLOCK_BYTES``."""
    begins = np.cumsum(sizes) - sizes
    cuts = np.flatnonzero(np.diff(begins // BLOCK_BYTES)) + 1
    return [_Segment(*pair) for pair in zip(np.split(keys, cuts), np.split(sizes, cuts), strict=True)]


def _merge(segments: list[_Segment]) -> list[_Segment]:
    """Join small neighbours, as single additions leave them behind."""
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
    joined = _Segment(np.concatenate([s.keys for s in run]), np.concatenate([s.sizes for s in run]))
    if len(blocks) == len(run):  # else all of it is read again, once
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
    """Arrays that consumers share are for reading."""
    arrays = (
        (features.vectors,)
        if isinstance(features, GlobalFeatures)
        else (features.descriptors, features.keypoints, features.offsets)
    )
    for array in arrays:
        array.flags.writeable = False
    return features


def _contains(ordered: Keys, keys: Keys) -> NDArray[np.bool_]:
    """Which of ``keys`` are among the ascending ``ordered``."""
    if not len(ordered):
        return np.zeros(len(keys), dtype=np.bool_)
    places = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    there: NDArray[np.bool_] = ordered[places] == keys
    return there
