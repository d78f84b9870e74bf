"""The candidates of spatial verification: record and thumbnail of stored images, read once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial

from imagefinder.core.contracts import Store
from imagefinder.core.errors import CollectionCorruptError, UnknownImageError
from imagefinder.core.features import RgbImage
from imagefinder.core.records import ImageRecord
from imagefinder.core.results import Size
from imagefinder.images.decoding.decode import decode_thumbnail


class Candidate:
    """An image to compare with a query; its thumbnail is read and decoded lazily.

    Attributes:
        id: Id of the image.
        size: Width and height in pixels.
        sha256: SHA-256 of the encoded image; may be empty.
        version: ``ImageRecord.version``; empty if the image is not stored.
    """

    def __init__(
        self, image_id: str, size: Size, sha256: str, load_thumbnail: Callable[[], bytes], *, version: str = ""
    ) -> None:
        self.id = image_id
        self.size = size
        self.sha256 = sha256
        self.version = version
        self._load_thumbnail = load_thumbnail

    @cached_property
    def thumbnail(self) -> bytes:
        """The encoded thumbnail; empty if there is none."""
        return self._load_thumbnail()

    @cached_property
    def pixels(self) -> RgbImage:
        """The decoded thumbnail; ``NO_PIXELS`` if there is no readable one."""
        return decode_thumbnail(self.thumbnail)


class Candidates:
    """Reads candidates from a store, and keeps them in memory."""

    def __init__(self, store: Store, *, kept: int | None = None) -> None:
        """Create a reader; nothing is read yet.

        Args:
            store: The store of the images.
            kept: Maximum number of candidates in memory, with their thumbnails; ``None``: no limit.
        """
        self._store = store
        self._kept = kept
        self._read: dict[str, Candidate | None] = {}

    def get(self, image_id: str) -> Candidate | None:
        """The candidate with this id; ``None`` if it was deleted before it was first read."""
        if image_id not in self._read:
            if self._kept is not None and len(self._read) >= self._kept:
                del self._read[next(iter(self._read))]
            try:
                self._read[image_id] = self.of(self._store.get(image_id))
            except UnknownImageError:
                self._read[image_id] = None
        return self._read[image_id]

    def prefetch(self, ids: Sequence[str]) -> None:
        """Read the records and thumbnails of these candidates, each in one statement."""
        records = self._store.records(ids)
        try:
            thumbnails = self._store.thumbnails(ids)
        except CollectionCorruptError:  # a damaged thumbnail matters only if it is compared
            self._read.update((one, self.of(records[one]) if one in records else None) for one in ids)
            return
        for image_id in ids:
            record, thumbnail = records.get(image_id), thumbnails.get(image_id, b"")
            self._read[image_id] = None if record is None else _candidate(record, partial(bytes, thumbnail))

    def of(self, record: ImageRecord) -> Candidate:
        """The candidate with this record."""
        return _candidate(record, lambda: read_thumbnail(self._store, record.id))


def _candidate(record: ImageRecord, load_thumbnail: Callable[[], bytes]) -> Candidate:
    size = record.width, record.height
    return Candidate(record.id, size, record.sha256, load_thumbnail, version=record.version)


def read_thumbnail(store: Store, image_id: str) -> bytes:
    """The encoded thumbnail of an image; empty if it has none, or the image was removed."""
    try:
        return store.thumbnail(image_id)
    except UnknownImageError:
        return b""
