"""Read and write the table of previews and originals that are kept of uploaded images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imagefinder.core.errors import CollectionCorruptError
from imagefinder.core.previews import KeptKind
from imagefinder.core.records import Damage, Entry
from imagefinder.stores import codec, validation
from imagefinder.stores.distributed.image_rows import encoded
from imagefinder.stores.distributed.payloads import Payloads, StoredBytes
from imagefinder.stores.distributed.pool import Connection, Database

KIND = "kept"
"""Kind of the bytes of these rows, for ``Payloads.store``."""


@dataclass(frozen=True, slots=True)
class NewKept:
    """A preview or original that is ready to be inserted.

    Attributes:
        image: Number of the image in its batch.
        kind: ``preview`` or ``original``.
        size: Its bytes.
        checksum: ``codec.thumbnail_checksum``.
        stored: The columns with its bytes.
    """

    image: int
    kind: str
    size: int
    checksum: int
    stored: StoredBytes


def prepare(entries: Sequence[Entry], payloads: Payloads) -> list[NewKept]:
    """Store the bytes of what is kept of images."""
    parts = [(number, kind, data) for number, one in enumerate(entries) for kind, data in one.kept.items()]
    stored = payloads.store(KIND, [data for *_, data in parts])
    return [
        NewKept(number, kind, len(data), codec.thumbnail_checksum(entries[number].image.id, data), columns)
        for (number, kind, data), columns in zip(parts, stored, strict=True)
    ]


def insert(connection: Connection, collection: int, images: Sequence[int], new: Sequence[NewKept]) -> None:
    """Insert what is kept of new images with these keys."""
    rows = [
        (images[one.image], one.kind, one.size, one.checksum, one.stored.object, one.stored.data) for one in new
    ]
    if rows:
        connection.execute(
            "INSERT INTO kept (collection, image, kind, bytes, checksum, object, data)"
            " SELECT %s, * FROM unnest(%b::bigint[], %b::text[], %b::bigint[], %b::bigint[], %b::text[],"
            " %b::bytea[])",
            [collection, *map(list, zip(*rows, strict=True))],
        )


class KeptTable:
    """The part of the store that reads what is kept of uploaded images (``StoreKept``)."""

    _database: Database
    _collection: int
    _payloads: Payloads

    def kept(self, ids: Sequence[str], kind: KeptKind) -> dict[str, bytes]:
        """The previews or originals of the images that have one, by id."""
        rows = self._rows(ids, "kept.checksum, kept.object, data", kind)
        found = {}
        loaded = self._payloads.load([StoredBytes(name, data) for *_, name, data in rows])
        for (raw_id, checksum, *_), data in zip(rows, loaded, strict=True):
            image_id = raw_id.decode()
            if data is None or not codec.is_intact_thumbnail(image_id, checksum, data):
                raise CollectionCorruptError(
                    f"the {kind} of image {image_id!r} is damaged", hint=codec.REPAIR_HINT
                )
            found[image_id] = data
        return found

    def kept_sizes(self, ids: Sequence[str]) -> dict[str, dict[KeptKind, int]]:
        """Bytes of what is kept of images, by id and kind."""
        found: dict[str, dict[KeptKind, int]] = {}
        for raw_id, kind, size in self._rows(ids, "kind, bytes", None):
            found.setdefault(raw_id.decode(), {})[kind] = size
        return found

    def _rows(self, ids: Sequence[str], columns: str, kind: KeptKind | None) -> list[Any]:
        valid = validation.valid_ids(ids)
        if not valid:
            return []
        return self._database.read(
            lambda connection: connection.execute(
                f"SELECT id, {columns} FROM images JOIN kept ON kept.collection = images.collection"
                " AND image = key WHERE images.collection = %s AND id = ANY(%b)"
                " AND (%s::text IS NULL OR kind = %s)",
                [self._collection, encoded(valid), kind, kind],
                binary=True,
            ).fetchall()
        )


def check(database: Database, collection: int, payloads: Payloads, *, repair: bool) -> list[Damage]:
    """Find damaged previews and originals, and drop them if ``repair``; one is in memory at a time."""
    found: list[Damage] = []
    last = (0, "")
    while True:
        row = database.read(
            lambda connection: connection.execute(
                "SELECT image, kind, id, kept.checksum, kept.object, data FROM kept"
                " JOIN images ON images.collection = kept.collection AND images.key = image"
                " WHERE kept.collection = %s AND (image, kind) > (%s, %s) ORDER BY image, kind LIMIT 1",
                [collection, *last],  # noqa: B023 - called here
                binary=True,
            ).fetchone()
        )
        if row is None:
            return found
        image, kind, raw_id, checksum, name, data = row
        last, image_id = (image, kind), raw_id.decode("utf-8", "replace")
        (loaded,) = payloads.load([StoredBytes(name, data)], fresh=True)
        if loaded is None or not codec.is_intact_thumbnail(image_id, checksum, loaded):
            if repair:
                database.write(
                    lambda connection: connection.execute(
                        "DELETE FROM kept WHERE collection = %s AND image = %s AND kind = %s",
                        [collection, *last],  # noqa: B023 - called here
                    )
                )
            repaired = "dropped; for a new one, upload the image again" if repair else ""
            found.append(
                Damage("kept", f"the {kind} of image {image_id!r} is damaged", image_id, repaired=repaired)
            )
