"""The database schema: tables, migrations and the file format check."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from imagefinder.core.errors import CollectionFormatError, CollectionNotFoundError
from imagefinder.stores import codec
from imagefinder.stores.embedded.connections import BUSY_SECONDS
from imagefinder.stores.embedded.listing_schema import LISTING

FILE_NAME = "collection.sqlite"
FORMAT = 5
APPLICATION_ID = int.from_bytes(b"IMGF")

# SIFT features have about 180 KB per image, ResNet-50 features 8 KB: larger pages make reading the former faster,
# but waste half a page on each of the latter (measurements: docs/decisions/0002-collection-on-disk.md).
PAGE_BYTES = 8192

RECORD = "id, uri, sha256, size_bytes, width, height, format, source, stamp, metadata, added_at, thumbnail"
"""The columns of an image covered by its checksum, in this order. The last is the checksum of its thumbnail (NULL
without one), so that a lost thumbnail is detected."""

FILE_METADATA = "file_stamp, stack, burst, properties, file_checksum"
"""The columns of what a file says about an image; the last is the checksum of the others and the id."""

# E-values depend on the number of images, so damage to it must be detected: mirror is always its negative.
_COUNTING = (
    """
    CREATE TRIGGER image_added AFTER INSERT ON images BEGIN
        UPDATE totals SET images = images + 1, mirror = mirror - 1;
    END
    """,
    """
    CREATE TRIGGER image_removed AFTER DELETE ON images BEGIN
        UPDATE totals SET images = images - 1, mirror = mirror + 1;
    END
    """,
)

_REMOVALS = (
    """
    CREATE TABLE removals (
        id TEXT NOT NULL,
        uri TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        source TEXT NOT NULL,
        at REAL NOT NULL,
        checksum INTEGER NOT NULL,
        PRIMARY KEY (id, uri)
    ) STRICT
    """,
    "CREATE INDEX removals_by_sha256 ON removals (sha256)",
    "CREATE INDEX images_by_sha256 ON images (sha256)",
)

_LEASES = (
    """
    CREATE TABLE leases (
        name TEXT PRIMARY KEY,
        holder TEXT NOT NULL,
        seconds REAL NOT NULL,
        expires REAL NOT NULL
    ) STRICT
    """,
)

# Hashes of the features of images without a SHA-256 (sample_rows.py). A column of features would come after the
# blobs, and filling it would rewrite them.
_CONTENTS = (
    """
    CREATE TABLE contents (
        key INTEGER PRIMARY KEY,
        method INTEGER NOT NULL,
        hash TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX contents_by_hash ON contents (method, hash)",
    "CREATE TRIGGER content_removed AFTER DELETE ON features BEGIN DELETE FROM contents WHERE key = OLD.key; END",
)

REMOVALS_KEPT = 100_000
"""Number of removed features that ``gone`` remembers; a follower that is further behind lists all features."""

# The record of removed features, and the identity of this history of changes (feed.py). The features of a method
# that is removed itself are not recorded: its key is part of every cursor.
_FEED = (
    """
    CREATE TABLE gone (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        method INTEGER NOT NULL,
        key INTEGER NOT NULL
    ) STRICT
    """,
    f"""
    CREATE TRIGGER features_gone AFTER DELETE ON features
    WHEN EXISTS (SELECT 1 FROM methods WHERE key = OLD.method) BEGIN
        INSERT INTO gone (method, key) VALUES (OLD.method, OLD.key);
        DELETE FROM gone WHERE number <= last_insert_rowid() - {REMOVALS_KEPT};
    END
    """,  # noqa: S608 - a number
    "CREATE TABLE history (id TEXT NOT NULL) STRICT",
    "INSERT INTO history VALUES (lower(hex(randomblob(8))))",
)

# Features of thumbnails (thumbnail_rows.py). The index counts them, and finds the images without them, without
# reading the large rows.
_THUMBNAIL_FEATURES = (
    """
    CREATE TABLE thumbnail_features (
        image INTEGER PRIMARY KEY REFERENCES images (key) ON DELETE CASCADE,
        method TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        data BLOB NOT NULL,
        keypoints BLOB NOT NULL
    ) STRICT
    """,
    "CREATE INDEX thumbnail_features_by_method ON thumbnail_features (method, image, bytes)",
)

_FORMAT_4: tuple[str, ...] = (*_LEASES, *_CONTENTS, *_FEED, *_THUMBNAIL_FEATURES)
"""Statements that create the tables, indexes and triggers of format 4, also in a new collection."""

# File metadata (file_metadata_rows.py), in a separate table: adding it rewrites no image. Definitions are short,
# because all of them have to fit into the first page; an image without a stack has NULL.
_FILE_METADATA: tuple[str, ...] = (
    """
    CREATE TABLE file_metadata (
        image INTEGER PRIMARY KEY REFERENCES images (key) ON DELETE CASCADE,
        file_stamp TEXT NOT NULL,
        stack TEXT,
        burst TEXT NOT NULL,
        properties TEXT NOT NULL,
        file_checksum INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX by_stack ON file_metadata (stack)",
    "CREATE INDEX by_burst ON file_metadata (burst)",
    # Every search needs the number of images that share a stack with another one. Rows are never updated; another
    # trigger counts new ones (listing_schema.py).
    "ALTER TABLE totals ADD COLUMN stacked INTEGER DEFAULT 0",
    """
    CREATE TRIGGER unstacked AFTER DELETE ON file_metadata BEGIN
    UPDATE totals SET stacked=stacked-EXISTS(SELECT 1 FROM file_metadata WHERE stack=OLD.stack); END
    """,
)

# What is kept of uploaded images (kept_rows.py). The blob is the last column: sizes are read without it.
_KEPT: tuple[str, ...] = (
    """
    CREATE TABLE kept (
        key INTEGER PRIMARY KEY,
        image INTEGER NOT NULL REFERENCES images (key) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        checksum INTEGER NOT NULL,
        data BLOB NOT NULL,
        UNIQUE (image, kind)
    ) STRICT
    """,
)

_FORMAT_5: tuple[str, ...] = (*_FILE_METADATA, *_KEPT, *LISTING)
"""Statements that create the tables, indexes and triggers of format 5, also in a new collection."""

# Keys are never reused (AUTOINCREMENT), and a row of features is never updated, only deleted and inserted with a
# new key: features cached by key stay valid. Triggers maintain the counts, also for cascading deletes. Blobs are
# the last columns, so that reading the other columns does not touch their pages. The revisions of methods are for
# programs of version 0.1 that have the collection open.
TABLES = (
    """
    CREATE TABLE images (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        uri TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        format TEXT NOT NULL,
        source TEXT NOT NULL,
        stamp TEXT NOT NULL,
        metadata TEXT NOT NULL,
        added_at REAL NOT NULL,
        thumbnail INTEGER,
        checksum INTEGER NOT NULL DEFAULT 0
    ) STRICT
    """,
    "CREATE INDEX images_by_source ON images (source, id)",
    """
    CREATE TABLE thumbnails (
        image INTEGER PRIMARY KEY REFERENCES images (key) ON DELETE CASCADE,
        jpeg BLOB NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE methods (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        fingerprint TEXT NOT NULL,
        kind TEXT NOT NULL,
        dim INTEGER NOT NULL,
        dtype TEXT NOT NULL,
        images INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0,
        revision INTEGER NOT NULL DEFAULT 0
    ) STRICT
    """,
    """
    CREATE TABLE features (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        image INTEGER NOT NULL REFERENCES images (key) ON DELETE CASCADE,
        method INTEGER NOT NULL REFERENCES methods (key) ON DELETE CASCADE,
        bytes INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        data BLOB NOT NULL,
        keypoints BLOB,
        UNIQUE (image, method)
    ) STRICT
    """,
    "CREATE INDEX features_by_method ON features (method, key, bytes)",
    """
    CREATE TRIGGER features_added AFTER INSERT ON features BEGIN
        UPDATE methods SET images = images + 1, bytes = bytes + NEW.bytes, revision = revision + 1
        WHERE key = NEW.method;
    END
    """,
    """
    CREATE TRIGGER features_removed AFTER DELETE ON features BEGIN
        UPDATE methods SET images = images - 1, bytes = bytes - OLD.bytes, revision = revision + 1
        WHERE key = OLD.method;
    END
    """,
    "CREATE TABLE totals (images INTEGER NOT NULL, mirror INTEGER NOT NULL DEFAULT 0) STRICT",
    "INSERT INTO totals (images) VALUES (0)",
    *_COUNTING,
    """
    CREATE TABLE failures (
        id TEXT PRIMARY KEY,
        uri TEXT NOT NULL,
        code TEXT NOT NULL,
        message TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        at REAL NOT NULL,
        source TEXT NOT NULL
    ) STRICT
    """,
    *_REMOVALS,
    *_FORMAT_4,
    *_FORMAT_5,
)


def _add_checksums(database: sqlite3.Connection) -> None:
    """Migrate to format 2, which has checksums of records and thumbnails, and a mirrored image count."""
    database.execute("ALTER TABLE images ADD COLUMN thumbnail INTEGER")
    database.execute("ALTER TABLE images ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0")
    database.execute("ALTER TABLE totals ADD COLUMN mirror INTEGER NOT NULL DEFAULT 0")
    database.execute("UPDATE totals SET mirror = -images")
    for trigger in ("image_added", "image_removed"):
        database.execute(f"DROP TRIGGER {trigger}")
    for statement in _COUNTING:
        database.execute(statement)
    database.create_function("record_checksum", -1, lambda *values: codec.record_checksum(values))
    database.create_function("thumbnail_checksum", 2, codec.thumbnail_checksum)
    database.execute(
        "UPDATE images SET thumbnail = (SELECT thumbnail_checksum(id, jpeg) FROM thumbnails WHERE image = key)"
    )
    database.execute(f"UPDATE images SET checksum = record_checksum({RECORD})")  # noqa: S608 - column names


def _add_removals(database: sqlite3.Connection) -> None:
    """Migrate to format 3, which remembers removed images and finds images by the SHA-256 of their bytes."""
    for statement in _REMOVALS:
        database.execute(statement)


def _to_format_4(database: sqlite3.Connection) -> None:
    """Migrate to format 4. Steps that read or rewrite every image do not belong here: opening must stay fast."""
    for statement in _FORMAT_4:
        database.execute(statement)
    fill_contents(database)


def _to_format_5(database: sqlite3.Connection) -> None:
    """Migrate to format 5, which has file metadata, lists by it, and keeps previews of uploaded images."""
    for statement in _FORMAT_5:
        database.execute(statement)
    database.execute("INSERT INTO listing_due SELECT key FROM images")


def begin_history(database: sqlite3.Connection) -> None:
    """Give a copy of a collection its own history: cursors and leases of the original do not apply to it."""
    database.execute("BEGIN IMMEDIATE")
    database.execute("UPDATE history SET id = lower(hex(randomblob(8)))")
    database.execute("DELETE FROM leases")
    database.execute("COMMIT")


def fill_contents(database: sqlite3.Connection) -> None:
    """Compute all rows of the table ``contents`` again, without reading the features themselves."""
    database.create_function(
        "content_hash", 4, lambda *values: f"{codec.content_checksum(*values):08x}", deterministic=True
    )
    database.execute("DELETE FROM contents")
    database.execute(
        "INSERT INTO contents (key, method, hash)"
        " SELECT features.key, method, content_hash(id, methods.name, features.bytes, features.checksum)"
        " FROM images CROSS JOIN features ON image = images.key CROSS JOIN methods ON methods.key = method"
        " WHERE images.sha256 = ''"
    )


MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {
    1: _add_checksums,
    2: _add_removals,
    3: _to_format_4,
    4: _to_format_5,
}
"""Format -> function that migrates to the next format, within a transaction."""

ADDITIVE = frozenset({2, 3, 4})
"""Formats whose migration only adds tables and indexes. Opening a collection migrates it, in no time and without
exclusive access: programs of the older version that have it open may go on."""


def prepare(database: sqlite3.Connection, folder: Path, *, create: bool) -> None:
    """Check that a database is a collection of the current format, and create the tables in an empty one.

    A format in ``ADDITIVE`` is migrated.

    Raises:
        CollectionFormatError: a database of another program, or another format.
        CollectionNotFoundError: the database is empty, and ``create`` is false.
    """
    if not _is_collection(database, folder):
        if not create:
            raise not_found(folder)
        database.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        enable_wal(database)
        database.execute("BEGIN IMMEDIATE")
        # Another process may have created the tables meanwhile; a killed one leaves an empty file.
        if not _is_collection(database, folder):
            for statement in TABLES:
                # Without white space, the definitions fit into the first page, which recovery can replace.
                database.execute(re.sub(r" *([(),=]) *", r"\1", " ".join(statement.split())))
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {FORMAT}")
        database.execute("COMMIT")
    elif format_of(database, folder) in ADDITIVE:
        _migrate_in_place(database, folder)
    enable_wal(database)  # a copy made by other tools may be in another journal mode


def _migrate_in_place(database: sqlite3.Connection, folder: Path) -> None:
    database.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have migrated it meanwhile.
        while (version := format_of(database, folder)) in ADDITIVE:
            assert version is not None  # noqa: S101 - it is one of ADDITIVE
            MIGRATIONS[version](database)
            database.execute(f"PRAGMA user_version = {version + 1}")
        database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")


def definitions(database: sqlite3.Connection) -> set[tuple[str, str]]:
    """Names and definitions of the tables, indexes and triggers, without white space."""
    rows = database.execute("SELECT name, coalesce(sql, '') FROM sqlite_schema").fetchall()
    return {(name, "".join(sql.split())) for name, sql in rows}


def expected_definitions() -> set[tuple[str, str]]:
    """What ``description`` says of a sound collection."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        for statement in TABLES:
            database.execute(statement)
        return definitions(database)


def not_found(folder: Path) -> CollectionNotFoundError:
    """The error for a folder without a collection."""
    return CollectionNotFoundError(
        f"there is no collection in {folder}", hint="create one with: imagefinder add FOLDER_WITH_IMAGES"
    )


def enable_wal(database: sqlite3.Connection) -> None:
    """Switch to write-ahead logging, with retries: SQLite's busy timeout does not apply to this."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _is_collection(database: sqlite3.Connection, folder: Path) -> bool:
    """Whether a database is a collection of a usable format; false if it is empty."""
    version = format_of(database, folder)
    if version is None:
        return False
    if version in MIGRATIONS and version not in ADDITIVE:
        raise CollectionFormatError(
            f"the collection {folder} has the older format {version}; this version of imagefinder requires format "
            f"{FORMAT}",
            hint=f"stop all programs that use it, then: imagefinder migrate --collection {folder}",
        )
    if version != FORMAT and version not in ADDITIVE:
        raise unknown_format(folder, version)
    return True


def format_of(database: sqlite3.Connection, folder: Path) -> int | None:
    """The format of a collection; ``None`` for an empty database.

    Raises:
        CollectionFormatError: the database belongs to another program.
    """
    # One statement, for a consistent state while another process creates the collection.
    application, version, tables = database.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)"
        " FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if application == 0 and tables == 0:
        return None
    if application != APPLICATION_ID:
        raise CollectionFormatError(
            f"{folder / FILE_NAME} belongs to another program (application id {application:#010x}, "
            f"not {APPLICATION_ID:#010x})",
            hint="choose another folder for the collection",
        )
    return int(version)


def unknown_format(folder: Path, version: int) -> CollectionFormatError:
    """The error for a collection of an unsupported format."""
    return CollectionFormatError(
        f"the collection {folder} has the unsupported format {version}; this version of imagefinder requires "
        f"format {FORMAT}",
        hint="open it with the version of imagefinder that wrote it, or a newer one",
    )
