"""Remove images that their sources no longer contain."""

from __future__ import annotations

from array import array

import numpy as np

from imagefinder.core.contracts import Store
from imagefinder.core.paging import iter_image_pages
from imagefinder.core.records import Failure
from imagefinder.indexing.source_item import SourceEnd, SourceItem

_PAGE_IMAGES = 256


class Pruner:
    """Records the items of each source, and removes stored images that are not among them."""

    def __init__(self, store: Store) -> None:
        """Start without items."""
        self._store = store
        self._ends: dict[str, SourceEnd] = {}
        self._seen = array("q")  # hashes, 8 bytes per image; after a collision an image is kept, never removed

    @property
    def complete_sources(self) -> set[str]:
        """URIs of the sources that were read completely."""
        return {end.source for end in self._ends.values() if end.complete}

    def add_item(self, item: SourceItem | Failure) -> None:
        """Record an item of a source."""
        self._seen.append(hash((item.source, item.id)))

    def add_end(self, end: SourceEnd) -> None:
        """Record the end of a source."""
        self._ends[end.source] = end

    def prune(self, source: str) -> tuple[int, str]:
        """Delete the images that a source no longer contains.

        Returns:
            The number of deleted images, and a note if the source could not be pruned, otherwise empty.
        """
        end = self._ends.get(source)
        if end is None or not end.complete:
            return 0, f"no images of {source} were removed, because it could not be read completely"
        if not end.images and self._store.images(limit=1, source=source):
            return 0, f"no images of {source} were removed, because it is empty; check that its disk is mounted"
        seen = np.sort(np.frombuffer(self._seen, dtype=np.int64))
        removed = 0
        for page in iter_image_pages(self._store.images, page_size=_PAGE_IMAGES, source=source):
            hashes = np.array([hash((source, image.id)) for image in page], dtype=np.int64)
            positions = np.minimum(np.searchsorted(seen, hashes), max(len(seen) - 1, 0))
            found = seen[positions] == hashes if len(seen) else np.zeros(len(page), dtype=bool)
            missing = [image.id for image, is_found in zip(page, found, strict=True) if not is_found]
            if missing:
                removed += self._store.delete(missing)
        return removed, ""
