"""Coverage: which images of a store are in the segments of an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imagefinder.ann.segment import Keys, Segment, contains
from imagefinder.core.contracts import Store
from imagefinder.core.records import Changes


def _none() -> NDArray[np.int64]:
    return np.empty(0, dtype=np.int64)


@dataclass(slots=True, eq=False)
class Coverage:
    """The segments of an index relative to one state of the store.

    Only the methods modify the attributes, and they keep them consistent.

    Attributes:
        segments: The segments; ``alive`` marks the images that exist in the store.
        waiting: ``(K,)`` int64, existing keys that are not in any segment.
        waiting_sizes: ``(K,)`` int64, bytes of the features of each.
        revision: Revision of the store; -1 before the first ``apply``.
        last: The greatest key seen.
        images: Number of existing images; 0 before the first ``apply``.
    """

    segments: list[Segment] = field(default_factory=list)
    waiting: Keys = field(init=False, default_factory=_none)
    waiting_sizes: NDArray[np.int64] = field(init=False, default_factory=_none)
    revision: int = field(init=False, default=-1)
    last: int = field(init=False, default=0)
    images: int = field(init=False, default=0)

    @property
    def indexed(self) -> int:
        """Number of existing images in the segments."""
        return sum(int(segment.alive.sum()) for segment in self.segments)

    def changes(self, store: Store, method: str) -> Changes | None:
        """The changes of the store to ``apply``; ``None`` if there are none."""
        return store.changes(method, revision=self.revision, last=self.last, count=self.images)

    def apply(self, changes: Changes) -> None:
        """Update to the state of the store after ``changes``."""
        if self.revision == -1:  # compare all keys of the store with all segments
            covered = np.concatenate([segment.keys for segment in self.segments] or [_none()])
            fresh = ~contains(np.sort(covered), changes.new)
            self.waiting, self.waiting_sizes = changes.new[fresh], changes.sizes[fresh]
            self._mask(changes.new)
        else:
            self.waiting = np.concatenate([self.waiting, changes.new])
            self.waiting_sizes = np.concatenate([self.waiting_sizes, changes.sizes])
            if changes.alive is not None:
                self._mask(changes.alive)
        self.revision = changes.revision
        self.last = max(self.last, int(changes.new[-1]) if len(changes.new) else 0)
        self._count()

    def absorb(self, segments: Sequence[Segment]) -> None:
        """Add the segments of all waiting images; waiting images in none of them have been removed."""
        self.segments = [*self.segments, *segments]
        self.waiting, self.waiting_sizes = _none(), _none()
        self._count()

    def replace(self, old: Sequence[Segment], new: Sequence[Segment]) -> None:
        """Replace segments by others with the same images."""
        kept = [segment for segment in self.segments if segment not in old]
        self.segments = sorted([*kept, *new], key=lambda segment: int(segment.keys[0]))
        self._count()

    def _mask(self, alive: Keys) -> None:
        kept = contains(alive, self.waiting)
        self.waiting, self.waiting_sizes = self.waiting[kept], self.waiting_sizes[kept]
        for segment in self.segments:
            segment.alive = contains(alive, segment.keys)  # a new array: other threads may be reading the old one

    def _count(self) -> None:
        self.images = len(self.waiting) + self.indexed
