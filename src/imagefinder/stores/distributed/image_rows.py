"""Read and write the table of images."""

from __future__ import annotations

import json
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from imagefinder.core.errors import CollectionCorruptError, UnknownImageError
from imagefinder.core.file_metadata import FileMetadata
from imagefinder.core.filters import Filter, contains_text
from imagefinder.core.records import Entry, ImageRecord, ImageStatus
from imagefinder.stores import codec, validation
from imagefinder.stores.conditions import ALWAYS, SqlCondition, joined
from imagefinder.stores.distributed import file_metadata_rows, payloads, schema, sql_filter
from imagefinder.stores.distributed.payloads import StoredBytes
from imagefinder.stores.distributed.pool import Connection

RECORD = ", ".join(f"images.{name}" for name in f"{schema.RECORD}, checksum, {schema.FILE_METADATA}".split(", "))
"""The columns of a record, its checksum, and what its file says."""

THUMBNAIL = schema.RECORD.split(", ").index("thumbnail")
"""Position of the checksum of the thumbnail in a row of ``RECORD``."""

_FILE_COLUMNS = len(schema.FILE_METADATA.split(", "))

_PAGE = 500
"""Number of preselected records that are read at a time."""

_COLUMNS = {
    "key": "bigint",
    "id": "bytea",
    "uri": "bytea",
    "sha256": "bytea",
    "size_bytes": "bigint",
    "width": "bigint",
    "height": "bigint",
    "format": "bytea",
    "source": "bytea",
    "stamp": "bytea",
    "metadata": "text",
    "added_at": "double precision",
    "thumbnail": "bigint",
    "checksum": "bigint",
    "tags": "text",
    "composed": "bytea",
    "object": "text",
    "jpeg": "bytea",
    "file_stamp": "text",
    "stack": "text",
    "burst": "text",
    "properties": "text",
    "file_checksum": "bigint",
    "file_tags": "text",
}


def lock_images(connection: Connection, collection: int, ids: Sequence[str]) -> None:
    """Keep others from changing these images until the transaction ends; in one order, to prevent deadlocks."""
    connection.execute(
        "SELECT key FROM images WHERE collection = %s AND id = ANY(%b) ORDER BY id FOR UPDATE",
        [collection, encoded(ids)],
    )


def insert_images(
    connection: Connection,
    collection: int,
    entries: Sequence[Entry],
    keys: Sequence[int],
    thumbnails: Sequence[StoredBytes],
    *,
    copied: bool,
) -> None:
    """Insert images with these keys and stored thumbnails; there are none with their ids."""
    if not entries:
        return
    now = time.time()
    rows = [
        _row(entry, key, stored, entry.image.added_at if copied else now)
        for entry, key, stored in zip(entries, keys, thumbnails, strict=True)
    ]
    rows.sort(key=lambda row: row[1])  # the order of locks, as in ``lock_images``
    columns = ", ".join(_COLUMNS)
    arrays = ", ".join(f"%b::{kind}[]" for kind in _COLUMNS.values())
    values = ", ".join(f"{name}::jsonb" if name in ("tags", "file_tags") else name for name in _COLUMNS)
    connection.execute(
        f"INSERT INTO images (collection, {columns}) SELECT %s, {values} FROM unnest({arrays}) AS new ({columns})",
        [collection, *map(list, zip(*rows, strict=True))],
    )


def _row(entry: Entry, key: int, stored: StoredBytes, added_at: float) -> tuple[Any, ...]:
    image = entry.image
    metadata = validation.metadata_text(image.id, image.metadata)
    thumbnail = codec.thumbnail_checksum(image.id, entry.thumbnail) if entry.thumbnail else None
    values = (
        *(image.id, image.uri, image.sha256, image.size_bytes, image.width, image.height, image.format),
        *(image.source, image.stamp, metadata, added_at, thumbnail),
    )
    return (
        key,
        *(value.encode() if place < 9 and isinstance(value, str) else value for place, value in enumerate(values)),
        codec.record_checksum(values),
        sql_filter.tags_of(metadata),
        None if image.id.isascii() else unicodedata.normalize("NFC", image.id).encode(),
        stored.object,
        stored.data,
        *file_metadata_rows.values(image.id, image.file_metadata),
    )


def key_of(connection: Connection, collection: int, image_id: str) -> int:
    """The key of an image, which is locked until the transaction ends.

    Raises:
        UnknownImageError: no image has that id.
    """
    row = connection.execute(
        "SELECT key FROM images WHERE collection = %s AND id = %b FOR UPDATE", [collection, image_id.encode()]
    ).fetchone()
    if row is None:
        raise UnknownImageError(image_id)
    return int(row[0])


def read_copies(connection: Connection, collection: int, sha256: str) -> list[ImageRecord]:
    """The records of the images with these bytes, ordered by id."""
    return [
        record_of(row) for row in _select(connection, collection, "sha256 = %b ORDER BY id", [sha256.encode()])
    ]


def read_equivalents(connection: Connection, collection: int, image_id: str) -> list[str]:
    """The ids that equal this one after Unicode normalisation, ordered."""
    composed = unicodedata.normalize("NFC", image_id).encode()
    rows = connection.execute(
        "SELECT id FROM images WHERE collection = %s AND (id = %b OR composed = %b) ORDER BY id",
        [collection, composed, composed],
        binary=True,
    )
    return [found.decode() for (found,) in rows]


def read_records(connection: Connection, collection: int, ids: Sequence[str]) -> dict[str, ImageRecord]:
    """The records of the images that exist, by id.

    Raises:
        CollectionCorruptError: a checksum is wrong.
    """
    rows = _select(connection, collection, "id = ANY(%b)", [encoded(ids)])
    return {record.id: record for record in map(record_of, rows)}


def read_thumbnails(
    connection: Connection, collection: int, ids: Sequence[str]
) -> list[tuple[str, int | None, StoredBytes]]:
    """Id, checksum and stored thumbnail of the images that exist."""
    rows = connection.execute(
        "SELECT id, thumbnail, object, jpeg FROM images WHERE collection = %s AND id = ANY(%b)",
        [collection, encoded(ids)],
        binary=True,
    )
    return [(image_id.decode(), checksum, StoredBytes(name, jpeg)) for image_id, checksum, name, jpeg in rows]


def checked_thumbnails(
    rows: Sequence[tuple[str, int | None, StoredBytes]], blobs: payloads.Payloads
) -> dict[str, bytes]:
    """The thumbnails of rows by image id; empty for an image without one.

    Raises:
        CollectionCorruptError: a checksum is wrong.
    """
    found = {}
    for (image_id, checksum, _), jpeg in zip(rows, blobs.load([stored for *_, stored in rows]), strict=True):
        if not codec.is_intact_thumbnail(image_id, checksum, jpeg):
            raise CollectionCorruptError(f"the thumbnail of image {image_id!r} is damaged", hint=codec.REPAIR_HINT)
        found[image_id] = jpeg or b""
    return found


def update_location(connection: Connection, collection: int, image_id: str, uri: str, stamp: str) -> None:
    """Update the URI and stamp of an image, if it exists.

    Raises:
        CollectionCorruptError: the checksum of its record is wrong.
    """
    rows = _select(connection, collection, "id = %b FOR UPDATE", [image_id.encode()])
    for row in rows:
        values = checked(row)
        values[1], values[8] = uri, stamp
        connection.execute(
            "UPDATE images SET uri = %b, stamp = %b, checksum = %s WHERE collection = %s AND id = %b",
            [uri.encode(), stamp.encode(), codec.record_checksum(values), collection, image_id.encode()],
        )


def edit_metadata(
    connection: Connection,
    collection: int,
    ids: Sequence[str],
    edit: Callable[[Mapping[str, Any]], Mapping[str, Any]],
) -> int:
    """Replace the metadata of the images that exist; returns how many changed.

    Raises:
        CollectionCorruptError: the checksum of a record is wrong.
    """
    changed = []
    for row in _select(connection, collection, "id = ANY(%b) ORDER BY id FOR UPDATE", [encoded(ids)]):
        values = checked(row)
        text = validation.metadata_text(values[0], edit(_parsed(values[0], values[9])))
        if text != values[9]:
            values[9] = text
            checksum = codec.record_checksum(values)
            changed.append((text, sql_filter.tags_of(text), checksum, collection, values[0].encode()))
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE images SET metadata = %s, tags = %s::jsonb, checksum = %s WHERE collection = %s AND id = %b",
            changed,
        )
    return len(changed)


def read_status(connection: Connection, collection: int, ids: Sequence[str]) -> dict[str, ImageStatus]:
    """The status of the images that exist, by id."""
    rows = connection.execute(
        "SELECT id, sha256, stamp, uri, file_stamp,"
        " ARRAY(SELECT name FROM features JOIN methods ON methods.key = method"
        " WHERE features.collection = images.collection AND image = images.key)"
        " FROM images WHERE collection = %s AND id = ANY(%b)",
        [collection, encoded(ids)],
        binary=True,
    )
    return {
        image_id.decode(): ImageStatus(
            sha256.decode(),
            stamp.decode(),
            uri.decode(),
            frozenset(name.decode() for name in names),
            file_stamp or "",
        )
        for image_id, sha256, stamp, uri, file_stamp, names in rows
    }


def read_page(
    connection: Connection, collection: int, after: str, limit: int, source: str | None
) -> list[ImageRecord]:
    """Up to ``limit`` records after the id ``after``, ordered by id."""
    return [record_of(row) for row in _page(connection, collection, after, limit, source=source, condition=ALWAYS)]


def read_matching(
    connection: Connection,
    collection: int,
    after: str,
    *,
    source: str | None,
    where: Filter | None,
    contains: str,
) -> Iterator[ImageRecord]:
    """Yield all matching records after the id ``after``, ordered by id.

    PostgreSQL preselects records; the filter is then applied to each of them.
    """
    condition = joined([sql_filter.on_metadata(where), sql_filter.on_text(contains)], " AND ")
    while True:
        rows = _page(connection, collection, after, _PAGE, source=source, condition=condition)
        for record in map(record_of, rows):
            after = record.id
            if (where is None or where.matches(record.filterable)) and (
                not contains or contains_text(contains, record.id, record.searchable)
            ):
                yield record
        if len(rows) < _PAGE:
            return


def matching_ids(
    connection: Connection, collection: int, where: Filter, ids: Sequence[str] | None = None
) -> Iterator[tuple[str, str]]:
    """Yield id and stack of the images, or of some of them, that match a filter, in no order.

    Raises:
        CollectionCorruptError: the checksum of a preselected record is wrong.
    """
    condition = sql_filter.on_metadata(where)
    among, values = ("", []) if ids is None else (" AND id = ANY(%b)", [encoded(ids)])
    rows = _select(connection, collection, f"{condition.sql}{among}", [*condition.values, *values])
    for row in rows:
        if where.matches((record := record_of(row)).filterable):
            yield record.id, record.file_metadata.stack


def encoded(ids: Sequence[str]) -> list[bytes]:
    """Ids as they are stored; damaged ones, which are not UTF-8, have surrogate escapes."""
    return [image_id.encode("utf-8", "surrogateescape") for image_id in ids]


def checked(row: Sequence[Any]) -> list[Any]:
    """Verify the checksum of a record and return its columns, decoded, without what its file says.

    Raises:
        CollectionCorruptError: the checksum is wrong.
    """
    *values, checksum = decoded(row[:-_FILE_COLUMNS])
    if not codec.is_intact_record(values, checksum):
        raise CollectionCorruptError(f"the record of image {values[0]!r} is damaged", hint=codec.REPAIR_HINT)
    return values


def decoded(row: Sequence[Any]) -> list[Any]:
    """The columns of a record, with texts; damaged ones have replaced characters."""
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in row]


def record_of(row: Sequence[Any]) -> ImageRecord:
    """The record in a row of ``RECORD``.

    Raises:
        CollectionCorruptError: a checksum is wrong.
    """
    return replace(own_record_of(row), file_metadata=file_metadata_of(row))


def own_record_of(row: Sequence[Any]) -> ImageRecord:
    """The record in a row of ``RECORD``, without what its file says.

    Raises:
        CollectionCorruptError: its checksum is wrong.
    """
    *values, metadata, added_at, _ = checked(row)
    return replace(ImageRecord(*values), metadata=_parsed(values[0], metadata), added_at=added_at)


def file_metadata_of(row: Sequence[Any]) -> FileMetadata:
    """The file metadata in a row of ``RECORD``.

    Raises:
        CollectionCorruptError: its checksum is wrong.
    """
    return codec.read_file_metadata(row[0].decode("utf-8", "replace"), row[-_FILE_COLUMNS:])


def _select(connection: Connection, collection: int, condition: str, values: Sequence[Any]) -> list[Any]:
    return connection.execute(
        f"SELECT {RECORD} FROM images WHERE collection = %s AND {condition}",
        [collection, *values],
        binary=True,
    ).fetchall()


def _page(
    connection: Connection,
    collection: int,
    after: str,
    limit: int,
    *,
    source: str | None,
    condition: SqlCondition,
) -> list[Any]:
    tests, values = f"id > %b AND {condition.sql}", [after.encode(), *condition.values]
    if source is not None:
        tests += " AND sha256(source) = sha256(%b) AND source = %b"
        values += [source.encode()] * 2
    return _select(connection, collection, f"{tests} ORDER BY id LIMIT %s", [*values, min(max(limit, 0), 2**31)])


def _parsed(image_id: object, metadata: str) -> dict[str, Any]:
    try:
        parsed = json.loads(metadata)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise CollectionCorruptError(f"the metadata of image {image_id!r} are not a JSON object")
    return parsed
