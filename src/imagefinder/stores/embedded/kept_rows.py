"""Read and write the table of previews and originals that are kept of uploaded images."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing

from imagefinder.core.errors import CollectionCorruptError
from imagefinder.core.previews import KeptKind
from imagefinder.core.records import Damage
from imagefinder.stores import codec, validation
from imagefinder.stores.embedded.connections import Connections
from imagefinder.stores.embedded.feature_rows import chunks

KEPT_COLUMNS = "key, image, kind, checksum, data"


class KeptLookups:
    """The part of the store that reads what is kept of uploaded images (``StoreKept``)."""

    _connections: Connections

    def kept(self, ids: Sequence[str], kind: KeptKind) -> dict[str, bytes]:
        """The previews or originals of the images that have one, by id."""
        found = {}
        for some in chunks(validation.valid_ids(ids)):
            query = (
                "SELECT id, kept.checksum, data FROM images JOIN kept ON image = images.key"  # noqa: S608 - marks
                f" WHERE kind = ? AND id IN ({', '.join('?' * len(some))})"
            )
            with self._connections.reading() as database:
                rows = database.execute(query, (kind, *some)).fetchall()
            for image_id, checksum, data in rows:
                if not codec.is_intact_thumbnail(image_id, checksum, data):
                    raise CollectionCorruptError(
                        f"the {kind} of image {image_id!r} is damaged", hint=codec.REPAIR_HINT
                    )
                found[image_id] = data
        return found

    def kept_sizes(self, ids: Sequence[str]) -> dict[str, dict[KeptKind, int]]:
        """Bytes of what is kept of images, by id and kind."""
        found: dict[str, dict[KeptKind, int]] = {}
        for some in chunks(validation.valid_ids(ids)):
            query = (
                "SELECT id, kind, length(data) FROM images JOIN kept ON image = images.key"  # noqa: S608 - marks
                f" WHERE id IN ({', '.join('?' * len(some))})"
            )
            with self._connections.reading() as database:
                rows = database.execute(query, some).fetchall()
            for image_id, kind, size in rows:
                found.setdefault(image_id, {})[kind] = size
        return found


def insert(database: sqlite3.Connection, image: int, image_id: str, kept: Mapping[KeptKind, bytes]) -> None:
    """Insert what is kept of the image with this key, which has nothing yet."""
    database.executemany(
        "INSERT INTO kept (image, kind, checksum, data) VALUES (?, ?, ?, ?)",
        [(image, kind, codec.thumbnail_checksum(image_id, data), data) for kind, data in kept.items()],
    )


def check(connections: Connections, *, repair: bool) -> list[Damage]:
    """Find rows with a wrong checksum, and drop them if ``repair``; one row is in memory at a time."""
    found: list[Damage] = []
    last = 0
    while True:
        with connections.reading() as database, closing(database.cursor()) as cursor:
            row = cursor.execute(
                "SELECT kept.key, images.id, kind, kept.checksum, data FROM kept NOT INDEXED"
                " JOIN images ON images.key = image WHERE kept.key > ? ORDER BY kept.key LIMIT 1",
                (last,),
            ).fetchone()
        if row is None:
            return found
        last, image_id, kind, checksum, data = row
        if not codec.is_intact_thumbnail(image_id, checksum, data):
            if repair:
                with connections.writing() as database:
                    database.execute("DELETE FROM kept WHERE key = ?", (last,))
            repaired = "dropped; for a new one, upload the image again" if repair else ""
            found.append(
                Damage("kept", f"the {kind} of image {image_id!r} is damaged", str(image_id), repaired=repaired)
            )
