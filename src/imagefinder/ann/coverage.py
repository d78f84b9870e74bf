"""Which images of a store the segments of an index cover."""

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
    """The segments, compared with one state of the store.

    Its methods keep the attributes in step; nothing else changes them.

    Attributes:
        segments: Their ``alive`` says which of their images were there.
        waiting: ``(K,)`` keys that were there and are in no segment.
        waiting_sizes: ``(K,)`` bytes of each.
        revision: The state of the store; -1 before the first comparison.
        last: The highest key seen.
        images: How many images were there; 0 before the first comparison.
    """

    segments: list[Segment] = field(default_factory=list)
    waiting: Keys = field(init=False, default_factory=_none)
    waiting_sizes: NDArray[np.int64] = field(init=False, default_factory=_none)
    revision: int = field(init=False, default=-1)
    last: int = field(init=False, default=0)
    images: int = field(init=False, default=0)

    @property
    def indexed(self) -> int:
        """How many images are in segments and were there."""
        return sum(int(segment.alive.sum()) for segment in self.segments)

    def changes(self, store: Store, method: str) -> Changes | None:
        """What ``apply`` needs; ``None``: the store is as it was."""
        return store.changes(method, revision=self.revision, last=self.last, count=self.images)

    def apply(self, changes: Changes) -> None:
        """Follow the store to the state of ``changes``."""
        if self.revision == -1:  # all keys of the store against all segments
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
        """These segments have what waited; what is in none of them is gone."""
        self.segments = [*self.segments, *segments]
        self.waiting, self.waiting_sizes = _none(), _none()
        self._count()

    def replace(self, old: Sequence[Segment], new: Sequence[Segment]) -> None:
        """Put segments in the place of others that have the same images."""
        kept = [segment for segment in self.segments if segment not in old]
        self.segments = sorted([*kept, *new], key=lambda segment: int(segment.keys[0]))
        self._count()

    def _mask(self, alive: Keys) -> None:
        kept = contains(alive, self.waiting)
        self.waiting, self.waiting_sizes = self.waiting[kept], self.waiting_sizes[kept]
        for segment in self.segments:
            segment.alive = contains(alive, segment.keys)  # a new array: others may be reading the old one

    def _count(self) -> None:
        self.images = len(self.waiting) + self.indexed
