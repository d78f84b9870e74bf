"""Read and write the tables of images and thumbnails."""

from __future__ import annotations

import json
import sqlite3
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

from imagefinder.core.errors import CollectionCorruptError, UnknownImageError
from imagefinder.core.filters import Filter, contains_text
from imagefinder.core.records import Entry, ImageRecord, ImageStatus
from imagefinder.stores import codec, validation
from imagefinder.stores.conditions import joined
from imagefinder.stores.embedded import schema, sql_filter
from imagefinder.stores.embedded.connections import DamagedTextError
from imagefinder.stores.embedded.feature_rows import chunks
from imagefinder.stores.embedded.method_rows import read_methods

_RECORD = f"{schema.RECORD}, checksum"
_ROW = f"{_RECORD}, {schema.FILE_METADATA}"
_IMAGES = "images LEFT JOIN file_metadata ON file_metadata.image = images.key"
"""The columns and tables of a record with what its file says."""

QUALIFIED = ", ".join(f"images.{name}" for name in _RECORD.split(", ")) + f", {schema.FILE_METADATA}"
"""The columns of a record with what its file says, for a query of more tables."""

_FILE_COLUMNS = len(schema.FILE_METADATA.split(", "))


def key_of(database: sqlite3.Connection, image_id: str) -> int:
    """The key of an image.

    Raises:
        UnknownImageError: no image has that id.
    """
    row = database.execute("SELECT key FROM images WHERE id = ?", (image_id,)).fetchone()
    if row is None:
        raise UnknownImageError(image_id)
    return int(row[0])


def insert_image(database: sqlite3.Connection, entry: Entry) -> int:
    """Insert an image with its thumbnail, replacing an earlier one and deleting its failure; returns the key."""
    image = entry.image
    database.execute("DELETE FROM images WHERE id = ?", (image.id,))
    database.execute("DELETE FROM failures WHERE id = ?", (image.id,))
    values = (
        image.id,
        image.uri,
        image.sha256,
        image.size_bytes,
        image.width,
        image.height,
        image.format,
        image.source,
        image.stamp,
        validation.metadata_text(image.id, image.metadata),
        image.added_at,
        codec.thumbnail_checksum(image.id, entry.thumbnail) if entry.thumbnail else None,
    )
    key = database.execute(
        f"INSERT INTO images ({_RECORD}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - names
        (*values, codec.record_checksum(values)),
    ).lastrowid
    assert key is not None  # noqa: S101 - a row was inserted
    if entry.thumbnail:
        database.execute("INSERT INTO thumbnails (image, jpeg) VALUES (?, ?)", (key, entry.thumbnail))
    return key


def delete_images(database: sqlite3.Connection, ids: Sequence[str]) -> int:
    """Delete the images with these ids; returns how many existed."""
    return database.executemany("DELETE FROM images WHERE id = ?", [(image_id,) for image_id in ids]).rowcount


def read_copies(database: sqlite3.Connection, sha256: str) -> list[ImageRecord]:
    """The records of the images with these bytes, ordered by id."""
    query = f"SELECT {_ROW} FROM {_IMAGES} WHERE sha256 = ? ORDER BY id"  # noqa: S608 - column names
    return [record_of(row) for row in database.execute(query, (sha256,))]


def read_equivalents(database: sqlite3.Connection, image_id: str) -> list[str]:
    """The ids that equal this one after Unicode normalisation, ordered.

    All of them begin with the same ASCII characters and have other characters, which the index finds.
    """
    composed, decomposed = (unicodedata.normalize(form, image_id) for form in ("NFC", "NFD"))
    same = takewhile(lambda pair: pair[0] == pair[1] < "\x80", zip(composed, decomposed, strict=False))
    prefix = "".join(letter for letter, _ in same)
    if prefix == image_id:
        return [i for (i,) in database.execute("SELECT id FROM images WHERE id = ?", (image_id,))]
    rows = database.execute(
        "SELECT id FROM images WHERE id >= ? AND id < ? AND id GLOB ? ORDER BY id",
        # No text is greater than one that ends with the last code point.
        (prefix, f"{prefix}\U0010ffff", "*[^\x01-\x7f]*"),
    )
    return [i for (i,) in rows if unicodedata.normalize("NFC", i) == composed]


def read_record(database: sqlite3.Connection, image_id: str) -> ImageRecord:
    """The record of an image.

    Raises:
        UnknownImageError: no image has that id.
        CollectionCorruptError: the checksum is wrong.
    """
    for record in read_records(database, [image_id]).values():
        return record
    raise UnknownImageError(image_id)


def read_records(database: sqlite3.Connection, ids: Sequence[str]) -> dict[str, ImageRecord]:
    """The records of the images that exist, by id.

    Raises:
        CollectionCorruptError: a checksum is wrong.
    """
    found = {}
    for some in chunks(ids):
        query = f"SELECT {_ROW} FROM {_IMAGES} WHERE id IN ({', '.join('?' * len(some))})"  # noqa: S608 - names
        found.update({row[0]: record_of(row) for row in database.execute(query, some)})
    return found


def read_thumbnail(database: sqlite3.Connection, image_id: str) -> bytes:
    """The thumbnail of an image; empty if it has none.

    Raises:
        UnknownImageError: no image has that id.
        CollectionCorruptError: the checksum is wrong.
    """
    for thumbnail in read_thumbnails(database, [image_id]).values():
        return thumbnail
    raise UnknownImageError(image_id)


def read_thumbnails(database: sqlite3.Connection, ids: Sequence[str]) -> dict[str, bytes]:
    """The thumbnails of the images that exist, by id; empty for an image without one.

    Raises:
        CollectionCorruptError: a checksum is wrong.
    """
    found = {}
    for some in chunks(ids):
        query = (
            "SELECT id, thumbnail, jpeg FROM images"  # noqa: S608 - question marks
            " LEFT JOIN thumbnails ON thumbnails.image = images.key"
            f" WHERE id IN ({', '.join('?' * len(some))})"
        )
        for image_id, checksum, jpeg in database.execute(query, some):
            if not codec.is_intact_thumbnail(image_id, checksum, jpeg):
                raise CollectionCorruptError(
                    f"the thumbnail of image {image_id!r} is damaged", hint=codec.REPAIR_HINT
                )
            found[image_id] = jpeg or b""
    return found


def update_location(database: sqlite3.Connection, image_id: str, uri: str, stamp: str) -> None:
    """Update the URI and stamp of an image, if it exists.

    Raises:
        CollectionCorruptError: the checksum of its record is wrong.
    """
    query = f"SELECT {_RECORD} FROM images WHERE id = ?"  # noqa: S608 - column names
    row = database.execute(query, (image_id,)).fetchone()
    if row:
        values = _checked(row)
        values[1], values[8] = uri, stamp
        database.execute(
            "UPDATE images SET uri = ?, stamp = ?, checksum = ? WHERE id = ?",
            (uri, stamp, codec.record_checksum(values), image_id),
        )


def edit_metadata(
    database: sqlite3.Connection, ids: Sequence[str], edit: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> int:
    """Replace the metadata of the images that exist; returns how many changed.

    Raises:
        CollectionCorruptError: the checksum of a record is wrong.
    """
    changed = []
    for some in chunks(ids):
        query = f"SELECT {_RECORD} FROM images WHERE id IN ({', '.join('?' * len(some))})"  # noqa: S608 - names
        for row in database.execute(query, some):
            values = _checked(row)
            old = _parsed(values[0], values[9])
            text = validation.metadata_text(values[0], edit(old))
            if text != values[9]:
                values[9] = text
                changed.append((text, codec.record_checksum(values), values[0]))
    database.executemany("UPDATE images SET metadata = ?, checksum = ? WHERE id = ?", changed)
    return len(changed)


def read_status(database: sqlite3.Connection, ids: Sequence[str]) -> dict[str, ImageStatus]:
    """The status of the images that exist, by id."""
    found: dict[str, tuple[str, str, str, str, set[str]]] = {}
    names = {method.key: name for name, method in read_methods(database).items()}
    for some in chunks(ids):
        query = (
            f"SELECT id, sha256, stamp, uri, file_stamp, method FROM {_IMAGES}"  # noqa: S608 - question marks
            " LEFT JOIN features ON features.image = images.key"
            f" WHERE id IN ({', '.join('?' * len(some))})"
        )
        for image_id, sha256, stamp, uri, file_stamp, method in database.execute(query, some):
            status = found.setdefault(image_id, (sha256, stamp, uri, file_stamp or "", set()))
            if method is not None:
                status[4].add(names[method])
    return {
        image_id: ImageStatus(sha256, stamp, uri, frozenset(methods), file_stamp)
        for image_id, (sha256, stamp, uri, file_stamp, methods) in found.items()
    }


def read_page(database: sqlite3.Connection, after: str, limit: int, source: str | None) -> list[ImageRecord]:
    """Up to ``limit`` records after the id ``after``, ordered by id."""
    of_source, values = ("", [after]) if source is None else (" AND source = ?", [after, source])
    rows = database.execute(
        # The byte order of UTF-8 is the order of code points.
        f"SELECT {_ROW} FROM {_IMAGES} WHERE id > ?{of_source} ORDER BY id LIMIT ?",  # noqa: S608 - names
        [*values, min(max(limit, 0), 2**31)],
    )
    return [record_of(row) for row in rows]


def read_matching(
    database: sqlite3.Connection, after: str, source: str | None, where: Filter | None, contains: str
) -> Iterator[ImageRecord]:
    """Yield all matching records after the id ``after``, ordered by id.

    SQLite preselects records; the filter is then applied to each of them.
    """
    condition = joined([sql_filter.on_metadata(where), sql_filter.on_text(contains)], " AND ")
    tests, values = ["id > ?", condition.sql], [after, *condition.values]
    if source is not None:
        tests.append("source = ?")
        values.append(source)
    query = f"SELECT {_ROW} FROM {_IMAGES} WHERE {' AND '.join(tests)} ORDER BY id"  # noqa: S608 - question marks
    for row in database.execute(query, values):
        record = record_of(row)
        if (where is None or where.matches(record.filterable)) and (
            not contains or contains_text(contains, record.id, record.searchable)
        ):
            yield record


def matching_ids(
    database: sqlite3.Connection, where: Filter, ids: Sequence[str] | None = None
) -> Iterator[tuple[str, str]]:
    """Yield id and stack of the images, or of some of them, that match a filter, in no order.

    Raises:
        CollectionCorruptError: the checksum of a preselected record is wrong.
    """
    condition = sql_filter.on_metadata(where)
    query = f"SELECT {_ROW} FROM {_IMAGES} WHERE {condition.sql}"  # noqa: S608 - question marks
    for some in [()] if ids is None else chunks(ids):
        among = "" if ids is None else f" AND id IN ({', '.join('?' * len(some))})"
        for row in database.execute(query + among, (*condition.values, *some)):
            if where.matches((record := record_of(row)).filterable):
                yield record.id, record.file_metadata.stack


def matching_keys(database: sqlite3.Connection, method: int, keys: Sequence[int], where: Filter) -> list[int]:
    """Those of the keys of the features of a method whose images match a filter, in no order.

    Raises:
        CollectionCorruptError: the checksum of a preselected record is wrong.
    """
    condition, found = sql_filter.on_metadata(where), []
    for some in chunks(keys):
        query = (
            f"SELECT features.key, {schema.RECORD}, images.checksum, {schema.FILE_METADATA} FROM features"  # noqa: S608
            " JOIN images ON images.key = features.image"
            " LEFT JOIN file_metadata ON file_metadata.image = images.key"
            f" WHERE features.key IN ({', '.join('?' * len(some))})"
            f" AND features.method = ? AND {condition.sql}"
        )
        rows = database.execute(query, (*some, method, *condition.values))
        found += [key for key, *row in rows if where.matches(record_of(row).filterable)]
    return found


def count_images(database: sqlite3.Connection) -> int:
    """The stored number of images.

    Raises:
        CollectionCorruptError: the number and its mirror disagree.
    """
    images, mirror = database.execute("SELECT images, mirror FROM totals").fetchone() or (0, 1)
    if images != -mirror:
        raise CollectionCorruptError("the image count of the collection is damaged", hint=codec.REPAIR_HINT)
    return int(images)


def _checked(row: Sequence[Any]) -> list[Any]:
    """Verify the checksum of a record and return the other columns.

    Raises:
        CollectionCorruptError: the checksum is wrong.
    """
    *values, checksum = row
    if not codec.is_intact_record(values, checksum):
        raise CollectionCorruptError(f"the record of image {values[0]!r} is damaged", hint=codec.REPAIR_HINT)
    return values


def record_of(row: Sequence[Any]) -> ImageRecord:
    """The record in a row of its columns and checksum.

    Raises:
        CollectionCorruptError: the checksum is wrong.
    """
    *values, metadata, added_at, _ = _checked(row[:-_FILE_COLUMNS])
    found = codec.read_file_metadata(values[0], row[-_FILE_COLUMNS:])
    fields = [*values, _parsed(values[0], metadata), added_at, found]
    return ImageRecord(*fields)


def _parsed(image_id: str, metadata: str) -> dict[str, Any]:
    if metadata == "{}":  # the usual case
        return {}
    parsed = json.loads(metadata)
    if not isinstance(parsed, dict):
        raise DamagedTextError(f"the metadata of image {image_id!r} are not a JSON object")
    return parsed
