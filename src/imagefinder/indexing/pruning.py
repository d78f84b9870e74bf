"""Remove images that their sources no longer contain."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Store
from imagefinder.core.paging import iter_image_pages
from imagefinder.core.records import Failure, ImageRecord
from imagefinder.indexing.source_item import SourceEnd, SourceItem, local_path, name_to_text

# ruff: noqa: PTH112, PTH120 - names may be any bytes, and Path would normalise some

_PAGE_IMAGES = 256
_FOLDERS_NAMED = 5
"""Number of vanished folders that a note names, those with the most images."""


class Pruner:
    """Records the items of each source, and removes stored images that are not among them."""

    def __init__(self, store: Store) -> None:
        """Start without items."""
        self._store = store
        self._ends: dict[str, SourceEnd] = {}
        self._sorted: NDArray[np.int64] | None = None
        self._seen = array("q")  # hashes, 8 bytes per image; after a collision an image is kept, never removed

    @property
    def complete_sources(self) -> set[str]:
        """URIs of the sources that were read completely."""
        return {end.source for end in self._ends.values() if end.complete}

    def add_item(self, item: SourceItem | Failure) -> None:
        """Record an item of a source."""
        self._seen.append(hash((item.source, item.id)))

    def is_seen(self, source: str, image_id: str) -> bool:
        """Whether an item was recorded: a source, by URI, contains an image, by id."""
        if self._sorted is None or len(self._sorted) != len(self._seen):
            self._sorted = np.sort(np.frombuffer(self._seen, dtype=np.int64))
        value = hash((source, image_id))
        position = np.searchsorted(self._sorted, value)
        return bool(position < len(self._sorted) and self._sorted[position] == value)

    def add_end(self, end: SourceEnd) -> None:
        """Record the end of a source."""
        self._ends[end.source] = end

    def prune(self, source: str, *, force: bool = False) -> tuple[int, str]:
        """Delete the images that a source no longer contains.

        Args:
            source: URI of the source.
            force: Also delete images of folders that have vanished as a whole, and of a source that is empty.

        Returns:
            The number of deleted images, and a note if the source was not pruned, otherwise empty.
        """
        end = self._ends.get(source)
        if end is None or not end.complete:
            return 0, f"no images of {source} were removed, because it could not be read completely"
        if not (end.images or force) and self._store.images(limit=1, source=source):
            return 0, (
                f"no images of {source} were removed, because it is empty; check that its disk is mounted, "
                "or remove them with --force-prune (force_prune)"
            )
        vanished = {} if force else self._vanished(source)
        if vanished:
            listed = ", ".join(f"{folder} ({count} in the collection)" for folder, count in _first(vanished))
            return 0, (
                f"no images of {source} were removed, because whole folders have vanished: {listed}; check that "
                "their disk is mounted and that they were not renamed, or remove their images with --force-prune "
                "(force_prune)"
            )
        return sum(self._store.delete([image.id for image in missing]) for missing in self._missing(source)), ""

    def _missing(self, source: str) -> Iterator[list[ImageRecord]]:
        """The images that a source no longer contains, some at a time."""
        seen = np.sort(np.frombuffer(self._seen, dtype=np.int64))
        for page in iter_image_pages(self._store.images, page_size=_PAGE_IMAGES, source=source):
            hashes = np.array([hash((source, image.id)) for image in page], dtype=np.int64)
            positions = np.minimum(np.searchsorted(seen, hashes), max(len(seen) - 1, 0))
            found = seen[positions] == hashes if len(seen) else np.zeros(len(page), dtype=bool)
            missing = [image for image, is_found in zip(page, found, strict=True) if not is_found]
            if missing:
                yield missing

    def _vanished(self, source: str) -> dict[str, int]:
        """Sub-folders that are gone, or without any files -> number of their missing images; of a folder only."""
        base = local_path(source)
        if base is None or not os.path.isdir(base):
            return {}
        folders: dict[str, str] = {}  # folder of an image -> the folder that has vanished, or empty
        counts: dict[str, int] = {}
        for image in (image for missing in self._missing(source) for image in missing):
            folder = os.path.dirname(local_path(image.uri) or "")
            if folder not in folders:
                folders[folder] = _vanished_above(folder, base)
            if folders[folder]:
                counts[folders[folder]] = counts.get(folders[folder], 0) + 1
        return counts


def _vanished_above(folder: str, base: str) -> str:
    """The highest folder below ``base`` that is gone, or ``folder`` itself if it is empty; otherwise empty."""
    if folder == base or not folder.startswith(base.rstrip(os.sep) + os.sep):
        return ""
    if os.path.isdir(folder):
        with os.scandir(folder) as entries:
            return "" if next(entries, None) else folder
    above = os.path.dirname(folder)
    return (_vanished_above(above, base) if not os.path.isdir(above) else "") or folder


def _first(vanished: dict[str, int]) -> list[tuple[str, int]]:
    most = sorted(vanished.items(), key=lambda one: (-one[1], one[0]))[:_FOLDERS_NAMED]
    return [(name_to_text(folder), count) for folder, count in most]
