"""Removing images that their sources no longer have."""

from __future__ import annotations

from array import array

import numpy as np

from imagefinder.core.contracts import Store
from imagefinder.core.paging import iter_image_pages
from imagefinder.core.records import Failure
from imagefinder.indexing.source_item import SourceEnd, SourceItem

_PAGE_IMAGES = 256


class Pruner:
    """Notes what the sources hold and removes what they no longer hold."""

    def __init__(self, store: Store) -> None:
        """Only stores."""
        self._store = store
        self._ends: dict[str, SourceEnd] = {}
        self._seen = array("q")  # 8 bytes an image; where two hashes collide, an image is only kept

    @property
    def complete_sources(self) -> set[str]:
        """URIs of the sources that were read completely."""
        return {end.source for end in self._ends.values() if end.complete}

    def saw(self, item: SourceItem | Failure) -> None:
        """A source holds this."""
        self._seen.append(hash((item.source, item.id)))

    def ended(self, end: SourceEnd) -> None:
        """A source has been read through."""
        self._ends[end.source] = end

    def prune(self, source: str) -> tuple[int, str]:
        """Delete the images of a source that it no longer has.

        Returns:
            How many were deleted; and why none could be, or an empty text.
        """
        end = self._ends.get(source)
        if end is None or not end.complete:
            return 0, f"nothing of {source} was removed: not all of it could be read"
        if not end.pictures and self._store.images(limit=1, source=source):
            return (
                0,
                f"nothing of {source} was removed: it holds no picture any more, as if a disk were not mounted",
            )
        seen = np.sort(np.frombuffer(self._seen, dtype=np.int64))
        removed = 0
        for page in iter_image_pages(self._store.images, page_size=_PAGE_IMAGES, source=source):
            hashes = np.array([hash((source, image.id)) for image in page], dtype=np.int64)
            places = np.minimum(np.searchsorted(seen, hashes), max(len(seen) - 1, 0))
            there = seen[places] == hashes if len(seen) else np.zeros(len(page), dtype=bool)
            gone = [image.id for image, found in zip(page, there, strict=True) if not found]
            if gone:
                removed += self._store.delete(gone)
        return removed, ""
