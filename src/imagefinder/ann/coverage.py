"""Coverage: which images of a store are in the segments of an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imagefinder.ann.segment import Keys, Segment, contains
from imagefinder.core.contracts import Store
from imagefinder.core.records import Changes, Cursor


def _none() -> NDArray[np.int64]:
    return np.empty(0, dtype=np.int64)


@dataclass(slots=True, eq=False)
class Coverage:
    """The segments of an index relative to one state of the store.

    Only the methods modify the attributes, and they keep them consistent.

    Attributes:
        segments: The segments; ``alive`` marks the images that exist in the store.
        cursor: Position of the store's changes up to which they were applied; ``None`` before the first ``apply``.
        waiting: ``(K,)`` int64, existing keys that are not in any segment, ascending.
        waiting_sizes: ``(K,)`` int64, bytes of the features of each.
    """

    segments: list[Segment] = field(default_factory=list)
    cursor: Cursor | None = None
    waiting: Keys = field(init=False, default_factory=_none)
    waiting_sizes: NDArray[np.int64] = field(init=False, default_factory=_none)

    @property
    def indexed(self) -> int:
        """Number of existing images in the segments."""
        return sum(int(segment.alive.sum()) for segment in self.segments)

    @property
    def gone(self) -> Keys:
        """Keys in the segments whose images do not exist any more."""
        return np.concatenate([segment.keys[~segment.alive] for segment in self.segments] or [_none()])

    def changes(self, store: Store, method: str) -> Changes:
        """The changes of the store to ``apply``."""
        return store.changes(method, self.cursor)

    def apply(self, changes: Changes) -> None:
        """Update to the state of the store after ``changes``."""
        self.cursor = changes.cursor
        if not changes.any:
            return
        if changes.complete:
            self.waiting, self.waiting_sizes = _none(), _none()
            for segment in self.segments:
                segment.alive = contains(changes.new, segment.keys)
        self._add(changes.new, changes.sizes)
        if len(changes.gone):
            kept = ~contains(np.sort(changes.gone), self.waiting)
            self.waiting, self.waiting_sizes = self.waiting[kept], self.waiting_sizes[kept]
            for segment in self.segments:
                segment.mask(changes.gone)

    def absorb(self, segments: Sequence[Segment]) -> None:
        """Add the segments of all waiting images; waiting images in none of them have been removed."""
        self.segments = [*self.segments, *segments]
        self.waiting, self.waiting_sizes = _none(), _none()

    def replace(self, old: Sequence[Segment], new: Sequence[Segment]) -> None:
        """Replace segments by others with the same images."""
        kept = [segment for segment in self.segments if segment not in old]
        self.segments = sorted([*kept, *new], key=lambda segment: int(segment.keys[0]))

    def _add(self, new: Keys, sizes: NDArray[np.int64]) -> None:
        """Add the keys that are not known yet to the waiting ones."""
        fresh = ~contains(self.waiting, new)
        for segment in self.segments:
            fresh &= ~contains(segment.keys, new)
        keys = np.concatenate([self.waiting, new[fresh]])
        order = np.argsort(keys, kind="stable")
        self.waiting = keys[order]
        self.waiting_sizes = np.concatenate([self.waiting_sizes, sizes[fresh]])[order]
