"""Check a database for damage, and repair it by dropping damaged rows.

SQLite checks the structure; checksums verify the contents. The rows are read in short transactions, so that other
processes can go on writing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from imagefinder.core.errors import StoreError
from imagefinder.core.features import FeatureSpec
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Damage
from imagefinder.stores import codec
from imagefinder.stores.embedded import file_metadata_rows, kept_rows, removal_rows, schema, thumbnail_rows
from imagefinder.stores.embedded.connections import Connections

_ROWS = 64
_MESSAGES = 100
_RECOMPUTED = "the next add of the source extracts them again"

_Method = tuple[str, FeatureSpec]


def check_structure(connections: Connections, *, repair: bool) -> list[Damage]:
    """Let SQLite check tables and indexes. Indexes are repaired by rebuilding them; tables are not repaired."""
    found = _integrity(connections)
    if found and repair:
        try:
            with connections.writing() as database:
                database.execute("REINDEX")
        except StoreError:
            return found  # the tables themselves are damaged
        if not _integrity(connections):
            return [replace(damage, repaired="the indexes were rebuilt") for damage in found]
    return found


def check_contents(
    connections: Connections,
    *,
    repair: bool,
    sound_thumbnail: Callable[[bytes], bool],
    progress: Callable[[int, int], None],
) -> list[Damage]:
    """Check the contents of the rows and their consistency.

    Args:
        connections: Connections to the database.
        repair: Drop damaged rows and correct the counts.
        sound_thumbnail: Whether a thumbnail is a valid image.
        progress: Called with (done, total) rows.
    """
    with connections.reading() as database:
        # Rows written from now on are not checked: a busy writer would keep the check running forever.
        (images, last_image), (features, last_features) = (
            database.execute(f"SELECT count(*), coalesce(max(key), 0) FROM {table} NOT INDEXED").fetchone()  # noqa: S608
            for table in ("images", "features")
        )
    total, done = images + features, 0
    methods, found = _methods(connections, repair=repair)
    for rows in _pages(connections, _IMAGES, last_image):
        found += _repair(connections, repair, _image_damages(rows, sound_thumbnail))
        done += len(rows)
        progress(min(done, total), total)
    for rows in _pages(connections, _FEATURES, last_features):
        found += _repair(connections, repair, _feature_damages(rows, methods))
        done += len(rows)
        progress(min(done, total), total)
    found += thumbnail_rows.check(connections, repair=repair)
    found += file_metadata_rows.check(connections, repair=repair)
    found += kept_rows.check(connections, repair=repair)
    found += _removals(connections, repair=repair)
    found += _orphans(connections, repair=repair) + _counts(connections, repair=repair)
    return found + file_metadata_rows.check_count(connections, repair=repair)


@contextmanager
def lenient_text(database: sqlite3.Connection) -> Iterator[None]:
    """Decode invalid UTF-8 with surrogate escapes instead of raising; the checksum detects the damage."""
    database.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    try:
        yield
    finally:
        database.text_factory = str


# -- parts -----------------------------------------------------------------------------------------------------

_IMAGES = (
    f"SELECT key, {schema.RECORD}, images.checksum, jpeg FROM images NOT INDEXED"  # noqa: S608
    " LEFT JOIN thumbnails ON thumbnails.image = key WHERE key > ? AND key <= ? ORDER BY key LIMIT ?"
)
_FEATURES = (
    "SELECT features.key, images.id, method, bytes, features.checksum, data, keypoints FROM features NOT INDEXED"
    " JOIN images ON images.key = image WHERE features.key > ? AND features.key <= ? ORDER BY features.key LIMIT ?"
)

_FEATURE_KINDS = {("global", "float32"), ("local", "float32"), ("local", "uint8"), ("local", "int8")}

_Found = tuple[int, Callable[[sqlite3.Connection, int], None], Damage]
"""Key of the row, function that repairs it, and the damage."""


def _integrity(connections: Connections) -> list[Damage]:
    try:
        with connections.reading() as database:
            rows = database.execute(f"PRAGMA integrity_check({_MESSAGES})").fetchall()
        with connections.reading() as database:
            schema_matches = schema.definitions(database) == schema.expected_definitions()
    except StoreError as error:
        return [Damage("database", error.message)]
    found = [
        Damage("database", f"the database is inconsistent (SQLite: {text})") for (text,) in rows if text != "ok"
    ]
    if not schema_matches:
        found.append(Damage("database", "the database schema is damaged"))
    return found


def _methods(connections: Connections, *, repair: bool) -> tuple[dict[int, _Method], list[Damage]]:
    with connections.reading() as database, lenient_text(database):
        rows = database.execute("SELECT key, name, fingerprint, kind, dim, dtype FROM methods").fetchall()
    methods, found = {}, []
    for key, name, fingerprint, kind, dim, dtype in rows:
        try:
            is_valid = Fingerprint.from_json(fingerprint).method == name
        except (ValueError, KeyError, TypeError, AttributeError):
            is_valid = False
        if not is_valid or (kind, dtype) not in _FEATURE_KINDS or dim < 1:
            damage = Damage("method", f"the record of the method {name!r} is damaged", method=str(name))
            if repair:
                with connections.writing() as database:
                    database.execute("DELETE FROM methods WHERE key = ?", (key,))
                damage = replace(damage, repaired=f"dropped with its features; {_RECOMPUTED}")
            found.append(damage)
        else:
            methods[key] = (name, FeatureSpec(kind, dim, dtype))
    return methods, found


def _pages(connections: Connections, query: str, end: int) -> Iterator[list[Sequence[Any]]]:
    last = 0
    while True:
        with connections.reading() as database, lenient_text(database):
            rows = database.execute(query, (last, end, _ROWS)).fetchall()
        if not rows:
            return
        yield rows
        last = rows[-1][0]


def _image_damages(rows: Sequence[Sequence[Any]], sound_thumbnail: Callable[[bytes], bool]) -> Iterator[_Found]:
    for key, *values, checksum, jpeg in rows:
        image_id = str(values[0])
        if not codec.is_intact_record(values, checksum) or not _is_object(values[9]):
            yield (
                key,
                _drop_image,
                Damage(
                    "record",
                    f"the record of image {image_id!r} is damaged",
                    image_id,
                    repaired="the image was dropped; add it again",
                ),
            )
        elif not codec.is_intact_thumbnail(image_id, values[-1], jpeg) or (
            jpeg is not None and not sound_thumbnail(jpeg)
        ):
            yield (
                key,
                drop_thumbnail,
                Damage(
                    "thumbnail",
                    f"the thumbnail of image {image_id!r} is damaged",
                    image_id,
                    repaired="dropped; for a new one: imagefinder remove --forget, then add the image again",
                ),
            )


def _feature_damages(rows: Sequence[Sequence[Any]], methods: dict[int, _Method]) -> Iterator[_Found]:
    for key, image_id, method, size, checksum, data, keypoints in rows:
        if method not in methods:
            continue  # added meanwhile, or an orphan
        name, spec = methods[method]
        blobs = codec.EncodedFeatures(data, keypoints, checksum)
        if not codec.is_intact(image_id, name, spec, blobs) or blobs.nbytes != size:
            yield (
                key,
                _drop_features,
                Damage(
                    "features",
                    f"the {name} features of image {image_id!r} are damaged",
                    str(image_id),
                    name,
                    repaired=f"dropped; {_RECOMPUTED}",
                ),
            )


def _repair(connections: Connections, repair: bool, found: Iterator[_Found]) -> list[Damage]:
    damages = []
    for key, drop, damage in found:
        if repair:
            with connections.writing() as database:
                drop(database, key)
        damages.append(damage if repair else replace(damage, repaired=""))
    return damages


def drop_thumbnail(database: sqlite3.Connection, key: int) -> None:
    """Delete the thumbnail of an image with its features, and update the image's checksum."""
    for table in ("thumbnails", "thumbnail_features"):
        database.execute(f"DELETE FROM {table} WHERE image = ?", (key,))  # noqa: S608 - our own names
    query = f"SELECT {schema.RECORD} FROM images WHERE key = ?"  # noqa: S608 - column names
    row = database.execute(query, (key,)).fetchone()
    if row:
        checksum = codec.record_checksum([*row[:-1], None])
        database.execute("UPDATE images SET thumbnail = NULL, checksum = ? WHERE key = ?", (checksum, key))


def _drop_image(database: sqlite3.Connection, key: int) -> None:
    database.execute("DELETE FROM images WHERE key = ?", (key,))


def _drop_features(database: sqlite3.Connection, key: int) -> None:
    database.execute("DELETE FROM features WHERE key = ?", (key,))


def _removals(connections: Connections, *, repair: bool) -> list[Damage]:
    """Find recorded removals with a wrong checksum."""
    query = f"SELECT rowid, {removal_rows.COLUMNS}, checksum FROM removals NOT INDEXED"  # noqa: S608 - names
    with connections.reading() as database, lenient_text(database):
        rows = database.execute(query).fetchall()
    damaged = [row for row in rows if not codec.is_intact_record(row[1:-1], row[-1])]
    if damaged and repair:
        with connections.writing() as database:
            database.executemany("DELETE FROM removals WHERE rowid = ?", [(row[0],) for row in damaged])
    repaired = "forgotten; the next add of its source adds the image again" if repair else ""
    return [
        Damage(
            "record", f"the recorded removal of image {str(row[1])!r} is damaged", str(row[1]), repaired=repaired
        )
        for row in damaged
    ]


def _orphans(connections: Connections, *, repair: bool) -> list[Damage]:
    """Find rows that refer to a missing image or method."""
    with connections.reading() as database:
        rows = database.execute("PRAGMA foreign_key_check").fetchall()
    if not rows:
        return []
    if repair:
        with connections.writing() as database:
            for statement in (
                "DELETE FROM features WHERE image NOT IN (SELECT key FROM images)"
                " OR method NOT IN (SELECT key FROM methods)",
                "DELETE FROM thumbnails WHERE image NOT IN (SELECT key FROM images)",
                "DELETE FROM thumbnail_features WHERE image NOT IN (SELECT key FROM images)",
                "DELETE FROM listing WHERE image NOT IN (SELECT key FROM images)",
                "DELETE FROM tags WHERE image NOT IN (SELECT key FROM images)",
                "DELETE FROM listing_due WHERE image NOT IN (SELECT key FROM images)",
                "DELETE FROM file_metadata WHERE image NOT IN (SELECT key FROM images)",
                "DELETE FROM kept WHERE image NOT IN (SELECT key FROM images)",
            ):
                database.execute(statement)
            schema.fill_contents(database)
    tables = sorted({str(row[0]) for row in rows})
    count = len({(row[0], row[1]) for row in rows})
    return [
        Damage(
            "orphan",
            f"{count} rows of {' and '.join(tables)} refer to missing images or methods",
            repaired="dropped" if repair else "",
        )
    ]


def _counts(connections: Connections, *, repair: bool) -> list[Damage]:
    """Compare the counts with the rows; both are read, and corrected, in one transaction."""
    found = []
    with connections.writing() if repair else connections.reading() as database, lenient_text(database):
        rows = database.execute("SELECT images, mirror FROM totals").fetchall()
        counted = rows[0][0] if rows else None
        (actual,) = database.execute("SELECT count(*) FROM images NOT INDEXED").fetchone()
        if rows != [(actual, -actual)]:
            found.append(Damage("counts", f"the image count is {counted} instead of {actual}"))
            if repair:
                database.execute("DELETE FROM totals")
                database.execute("INSERT INTO totals (images, mirror) VALUES (?, ?)", (actual, -actual))
        rows = database.execute(
            "SELECT methods.key, name, methods.images, methods.bytes, count(features.key),"
            " coalesce(sum(features.bytes), 0) FROM methods LEFT JOIN features ON features.method = methods.key"
            " GROUP BY methods.key"
        ).fetchall()
        for key, name, images, size, true_images, true_size in rows:
            if (images, size) != (true_images, true_size):
                text = (
                    f"the counts of {name} are {images} images ({size} bytes) "
                    f"instead of {true_images} ({true_size} bytes)"
                )
                found.append(Damage("counts", text, method=str(name)))
                if repair:
                    # A new revision invalidates data derived from the wrong counts.
                    database.execute(
                        "UPDATE methods SET images = ?, bytes = ?, revision = revision + 1 WHERE key = ?",
                        (true_images, true_size, key),
                    )
    return [replace(damage, repaired="corrected" if repair else "") for damage in found]


def _is_object(metadata: str) -> bool:
    try:
        return isinstance(json.loads(metadata), dict)
    except ValueError:
        return False
