"""Find stored and removed images with the bytes of a new file: copies, and files that were moved or renamed."""

from __future__ import annotations

import os
import re
from collections.abc import Collection

from imagefinder.core.contracts import Store
from imagefinder.core.errors import CollectionCorruptError, UnknownImageError
from imagefinder.core.records import Entry, ImageRecord, Removal
from imagefinder.indexing.missing import is_gone
from imagefinder.indexing.source_item import SourceItem, inode_of, local_path

_PAGE = re.compile(r"#page=\d+$")


class KnownImages:
    """Finds stored and removed images by the SHA-256 of their bytes; thread-safe."""

    def __init__(self, store: Store, methods: Collection[str]) -> None:
        """Set the store, and the methods whose features are needed."""
        self._store = store
        self._methods = frozenset(methods)

    def find(self, item: SourceItem, sha256: str) -> Entry | None:
        """A stored image with these bytes, features of all methods and a thumbnail, to reuse for an item."""
        for record in self._copies(item, sha256):
            try:
                entry = self._store.entry(record.id)
            except (UnknownImageError, CollectionCorruptError):  # removed a moment ago, or to be extracted again
                continue
            if entry.image.sha256 == sha256 and self._methods <= entry.features.keys() and entry.thumbnail:
                return entry
        return None

    def moved(self, item: SourceItem, sha256: str, others: Collection[str]) -> ImageRecord | None:
        """The stored image whose file was moved or renamed to be this item; ``None`` if there is none.

        Args:
            item: A new or changed item.
            sha256: SHA-256 of its bytes.
            others: Ids of images that became other items.
        """
        for record in self._copies(item, sha256):
            if record.id != item.id and record.id not in others and has_moved(record, item):
                return record
        return None

    def _copies(self, item: SourceItem, sha256: str) -> list[ImageRecord]:
        page = _page(item.id)
        return [record for record in self._store.copies(sha256) if _page(record.id) == page]

    def removal(self, item: SourceItem, sha256: str) -> Removal | None:
        """The removal of a file that was moved or renamed since to be this item; ``None`` if there is none."""
        page = _page(item.id)
        for removal in self._store.removals(sha256=sha256):
            if _page(removal.id) == page and is_gone(removal.uri):
                return removal
        return None


def has_moved(record: ImageRecord, item: SourceItem) -> bool:
    """Whether a new file with the bytes of a stored image is that image, moved or renamed.

    The stored path must be gone, and not merely unreachable because its disk is not mounted: the new file has the
    same inode, or what the image was added from still has content.
    """
    if not is_gone(record.uri):
        return False
    if (inode := inode_of(record.stamp)) and inode == inode_of(item.stamp):
        return True
    path = local_path(record.source or record.uri)
    assert path is not None  # noqa: S101 - the path is gone, so there is one
    folder = path if record.source else os.path.dirname(path)  # noqa: PTH120 - names may be any bytes
    try:
        if not os.path.isdir(folder):  # noqa: PTH112 - an archive or a list
            return os.path.exists(folder)  # noqa: PTH110
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def _page(image_id: str) -> str:
    """The page at the end of an id: the pages of a file have the same bytes and different features."""
    found = _PAGE.search(image_id)
    return found[0] if found else ""
