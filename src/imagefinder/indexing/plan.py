"""Decide what to do with an item by its location and stamp, without reading it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from imagefinder.core.errors import ImagefinderError, InputError
from imagefinder.core.metadata import check_new_id
from imagefinder.core.records import Failure, ImageRecord, ImageStatus
from imagefinder.indexing.file_metadata import NO_SIDECARS, Sidecars
from imagefinder.indexing.source_item import SourceItem, is_same_stamp

ID_TAKEN = "id_taken"
"""Error code for an item whose id is used by another image from another source."""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """An item that has to be read.

    Attributes:
        item: The item.
        stored: Status of the stored image with its id, if any.
        missing: Methods without stored features for this image.
        owner: The stored image with its id, if that came from another source.
        sidecars: The files that belong to the item.
    """

    item: SourceItem
    stored: ImageStatus | None
    missing: tuple[str, ...]
    owner: ImageRecord | None = None
    sidecars: Sidecars = NO_SIDECARS

    @property
    def is_refresh(self) -> bool:
        """Whether the stored file metadata may be outdated."""
        return self.stored is not None and (
            self.stored.file_stamp != self.sidecars.stamp or self.stored.uri != self.item.uri
        )

    def is_stored(self, sha256: str) -> bool:
        """Whether an image with this id and these bytes is stored."""
        return self.stored is not None and self.stored.sha256 == sha256

    def needs_pixels(self, sha256: str) -> bool:
        """Whether any features have to be extracted from these bytes."""
        if self.is_stored(sha256):
            return bool(self.missing)
        return self.owner is None

    def extracts(self, method: str, sha256: str) -> bool:
        """Whether the features of one method have to be extracted from these bytes."""
        return method in self.missing or not self.is_stored(sha256)


def has_other_uri(item: SourceItem, stored: ImageStatus | None) -> bool:
    """Whether the stored image with the item's id has another URI; then ``plan`` needs the owner."""
    return stored is not None and stored.uri != item.uri


def plan(
    item: SourceItem,
    stored: ImageStatus | None,
    owner: ImageRecord | None,
    methods: Collection[str],
    *,
    sidecars: Sidecars = NO_SIDECARS,
    verify_content: bool = False,
) -> Task | Failure | None:
    """Decide whether to read an item, to reject it, or to do nothing because the store is up to date.

    Args:
        item: The item.
        stored: Status of the stored image with its id, if any.
        owner: The stored image with its id, if that belongs to another source.
        methods: Names of the methods to extract.
        sidecars: The files that belong to the item. If they have changed, its file metadata are read again; those
            of an image behind a URL only when it is downloaded.
        verify_content: Read the item even if its stamp shows no change.

    Returns:
        The task to read it; a failure to reject it; ``None`` if nothing has to be done.
    """
    missing = tuple(name for name in methods if stored is None or name not in stored.methods)
    if stored is not None and not has_other_uri(item, stored):
        is_unchanged = item.read is None or (
            is_same_stamp(stored.stamp, item.stamp) and stored.file_stamp == sidecars.stamp
        )
        if not missing and is_unchanged and not verify_content:
            return None
    if owner is not None and owner.uri and item.read is None:
        # Different URLs mean different images; there is no need to download.
        return id_taken(item, owner)
    try:
        check_new_id(item.id)
    except InputError as error:
        message = f"{error.message}; shorten the path, or add the image by a list, with a shorter id"
        return Failure(item.id, item.uri, error.code, message, source=item.source)
    return Task(item, stored, missing, owner, sidecars)


def failed(item: SourceItem, error: BaseException) -> Failure:
    """Convert an error into the failure of an item."""
    code, message = ImagefinderError.code, f"{type(error).__name__}: {error}"
    if isinstance(error, ImagefinderError):
        code, message = error.code, error.message
    return Failure(item.id, item.uri, code, message, source=item.source)


def id_taken(item: SourceItem, owner: ImageRecord) -> Failure:
    """The failure of an item whose id is used by another image."""
    through = f", added from {owner.source}" if owner.source else ""
    message = (
        f"the id {item.id!r} is already used by another image ({owner.uri or 'uploaded'}{through}); "
        "to add both, add a common parent folder, so that their ids differ"
    )
    return Failure(item.id, item.uri, ID_TAKEN, message, source=item.source)
