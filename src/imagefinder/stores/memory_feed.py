"""The feed of changes in memory: keys of features, and a record of removals."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from imagefinder.core.records import Changes, Cursor

_REMOVALS_KEPT = 100_000


@dataclass(slots=True, eq=False)
class FeedInMemory:
    """Keys in the order in which features were added, and the last removals; its owner has a lock.

    Attributes:
        last: The last key.
        removed: Number of removals.
        gone: Method and key of the last removals.
        history: Identifies this object.
    """

    last: int = 0
    removed: int = 0
    gone: deque[tuple[str, int]] = field(default_factory=lambda: deque(maxlen=_REMOVALS_KEPT))
    history: str = field(default_factory=lambda: uuid.uuid4().hex)

    def add(self) -> int:
        """A new key."""
        self.last += 1
        return self.last

    def remove(self, method: str, key: int) -> None:
        """Record that the features of a method with this key were removed."""
        self.removed += 1
        self.gone.append((method, key))

    def changes(self, method: str, existing: Sequence[tuple[int, int]], since: Cursor | None) -> Changes:
        """The changes of a method since a cursor.

        Args:
            method: Name of the method.
            existing: Key and bytes of all features of the method.
            since: The cursor; ``None`` for all features.
        """
        begin = self._begin(since)
        last, removed = begin or (0, self.removed)
        pairs = np.array(sorted(pair for pair in existing if pair[0] > last), dtype=np.int64).reshape(-1, 2)
        missed = self.removed - removed
        recent = list(self.gone)[len(self.gone) - missed :]
        return Changes(
            f"{self.history}.{self.last}.{self.removed}",
            pairs[:, 0].copy(),
            pairs[:, 1].copy(),
            np.array([key for name, key in recent if name == method], dtype=np.int64),
            complete=begin is None,
        )

    def _begin(self, since: Cursor | None) -> tuple[int, int] | None:
        """Last key and number of removals at a cursor; ``None`` if the changes since it are not known."""
        history, *numbers = (since or "").split(".")
        if history != self.history or len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
            return None
        last, removed = map(int, numbers)
        return (last, removed) if last <= self.last and 0 <= self.removed - removed <= len(self.gone) else None
