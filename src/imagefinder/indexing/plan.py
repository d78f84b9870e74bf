"""What has to be done with an item; decided from what is known, without reading anything."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from imagefinder.core.errors import ImagefinderError
from imagefinder.core.records import Failure, ImageRecord, ImageStatus
from imagefinder.indexing.source_item import SourceItem

ID_TAKEN = "id_taken"
"""Code of the failure of an image whose id belongs to another image, from another source."""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """An item that has to be read.

    Attributes:
        item: What to read.
        known: What the store has under its id.
        missing: Methods whose features the store lacks.
        owner: The image that has its id, if that came from elsewhere.
    """

    item: SourceItem
    known: ImageStatus | None
    missing: tuple[str, ...]
    owner: ImageRecord | None = None

    def is_known(self, sha256: str) -> bool:
        """Whether the store has these bytes under the item's id."""
        return self.known is not None and self.known.sha256 == sha256

    def needs_pixels(self, sha256: str) -> bool:
        """Whether there is anything to extract from these bytes."""
        if self.is_known(sha256):
            return bool(self.missing)
        return self.owner is None

    def extracts(self, method: str, sha256: str) -> bool:
        """Whether the features of a method have to be extracted from these bytes."""
        return method in self.missing or not self.is_known(sha256)


def comes_from_elsewhere(item: SourceItem, known: ImageStatus | None) -> bool:
    """Whether the store has the item's id from another address, so that ``plan`` needs the owner."""
    return known is not None and known.uri != item.uri


def plan(
    item: SourceItem, known: ImageStatus | None, owner: ImageRecord | None, methods: Collection[str]
) -> Task | Failure | None:
    """What to do with an item: read it, give it up, or nothing, because the store is up to date.

    Args:
        item: Found in a source.
        known: What the store has under its id.
        owner: The record of that id, where it belongs to another source.
        methods: Names of the methods that every image should have.
    """
    missing = tuple(name for name in methods if known is None or name not in known.methods)
    if known is not None and not comes_from_elsewhere(item, known):
        same_stamp = item.stamp == known.stamp and item.stamp
        if not missing and (same_stamp or item.read is None):
            return None
    if owner is not None and owner.uri and item.read is None:
        # Other URLs give other images; a download could not settle it.
        return id_taken(item, owner)
    return Task(item, known, missing, owner)


def failed(item: SourceItem, error: BaseException) -> Failure:
    """The failure that an error makes of an item."""
    code, message = ImagefinderError.code, f"{type(error).__name__}: {error}"
    if isinstance(error, ImagefinderError):
        code, message = error.code, error.message
    return Failure(item.id, item.uri, code, message, source=item.source)


def id_taken(item: SourceItem, owner: ImageRecord) -> Failure:
    """The failure of an item whose id belongs to another image."""
    through = f", added through {owner.source}" if owner.source else ""
    message = (
        f"the id {item.id!r} is that of another image already ({owner.uri or 'put by hand'}{through}); "
        "to have both, add a folder above the two, so that their ids differ"
    )
    return Failure(item.id, item.uri, ID_TAKEN, message, source=item.source)
