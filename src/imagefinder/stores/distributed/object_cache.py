"""A cache of popular objects on the disk of this machine, which its processes share."""

from __future__ import annotations

from pathlib import Path

from imagefinder.core.disk_cache import DiskCache
from imagefinder.core.lru import LruCache

_SEEN = 200_000
"""Number of names that are remembered as read once."""


class ObjectCache(DiskCache):
    """A disk cache of objects. An object is cached when it is read for the second time."""

    def __init__(self, folder: Path, most: int) -> None:
        """Use a folder, which is created when it is needed, for at most ``most`` bytes (within a tenth)."""
        super().__init__(folder, most, what="objects")
        self._seen: LruCache[bool] = LruCache(_SEEN)

    def offer(self, name: str, data: bytes) -> None:
        """Cache an object that was read from the object store, if it was offered before."""
        if self._seen.get(name):
            self.put(name, data)
        else:
            self._seen.put(name, True, 1)
