"""A cache of limited size that drops what was not used for longest."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

_Value = TypeVar("_Value")


class LruCache(Generic[_Value]):
    """Values by key, within a limit of bytes; thread-safe.

    Attributes:
        limit: Maximum bytes of all values.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._values: OrderedDict[Hashable, tuple[_Value, int]] = OrderedDict()
        self._used = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> _Value | None:
        """The value of a key; ``None`` if there is none."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: _Value, nbytes: int) -> None:
        """Store a value of this size and drop those used least recently; a value above the limit is left out."""
        with self._lock:
            _, before = self._values.pop(key, (None, 0))
            self._used -= before
            if nbytes > self.limit:
                return
            self._values[key] = value, nbytes
            self._used += nbytes
            while self._used > self.limit:
                _, (_, dropped) = self._values.popitem(last=False)
                self._used -= dropped
