"""The tables in PostgreSQL, their versions, and the collections in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imagefinder.core.errors import CollectionFormatError, CollectionNotFoundError
from imagefinder.stores.distributed.listing_schema import LISTING
from imagefinder.stores.distributed.method_rows import lock_methods
from imagefinder.stores.distributed.pool import Connection, Database
from imagefinder.stores.distributed.vector_models import drop_vectors

SCHEMA = "imagefinder"
"""The schema of all tables; connections of the pool search it first."""

RECORD = "id, uri, sha256, size_bytes, width, height, format, source, stamp, metadata, added_at, thumbnail"
"""The columns of an image covered by its checksum, in this order (as in the embedded store)."""

FILE_METADATA = "file_stamp, stack, burst, properties, file_checksum"
"""The columns of what a file says about an image (as in the embedded store); NULL if it was not read."""

_LOCK = int.from_bytes(b"imgfindr")
"""Key of the advisory lock of migrations."""

_SECONDS = 3600.0

PARTITIONS = 16
"""Number of tables among which the rows with features are distributed, so that each can be vacuumed by itself."""


def partitions(table: str) -> tuple[str, ...]:
    """The names of the partitions of a table."""
    return tuple(f"{table}_{number}" for number in range(PARTITIONS))


def _create_partitions(table: str) -> tuple[str, ...]:
    """Statements that create the partitions of a table."""
    return tuple(
        f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number})"
        for number, name in enumerate(partitions(table))
    )


# One set of tables for all collections: every key begins with the collection. Text is bytea, because PostgreSQL's
# text cannot contain NUL, and bytes are compared in the order of code points. Keys of images and features are
# never reused, and rows of features are never updated. Nothing refers to other tables by constraints: a batch
# deletes what belongs to its images itself.
_TABLES = (
    """
    CREATE TABLE collections (
        key integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL UNIQUE,
        history uuid NOT NULL DEFAULT gen_random_uuid(),
        folder uuid NOT NULL DEFAULT gen_random_uuid(),
        objects text,
        created_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE SEQUENCE keys AS bigint CACHE 100",
    """
    CREATE TABLE images (
        collection integer NOT NULL,
        key bigint NOT NULL,
        id bytea NOT NULL,
        uri bytea NOT NULL,
        sha256 bytea NOT NULL,
        size_bytes bigint NOT NULL,
        width bigint NOT NULL,
        height bigint NOT NULL,
        format bytea NOT NULL,
        source bytea NOT NULL,
        stamp bytea NOT NULL,
        metadata text NOT NULL,
        tags jsonb,
        composed bytea,
        added_at double precision NOT NULL,
        thumbnail bigint,
        checksum bigint NOT NULL,
        object text,
        jpeg bytea,
        PRIMARY KEY (collection, id)
    )
    """,
    # Compressed already; and a row without its thumbnail stays small, so that records are read from few pages.
    "ALTER TABLE images ALTER COLUMN jpeg SET STORAGE EXTERNAL",
    "CREATE UNIQUE INDEX images_by_key ON images (collection, key)",
    "CREATE INDEX images_by_sha256 ON images (collection, sha256)",
    "CREATE INDEX images_by_source ON images (collection, sha256(source), id)",
    "CREATE INDEX images_by_composed ON images (collection, composed) WHERE composed IS NOT NULL",
    "CREATE INDEX images_by_tags ON images USING gin (tags jsonb_path_ops)",
    "CREATE INDEX images_without_tags ON images (collection) WHERE tags IS NULL",
    """
    CREATE TABLE methods (
        key integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        collection integer NOT NULL,
        name bytea NOT NULL,
        fingerprint text NOT NULL,
        kind text NOT NULL,
        dim integer NOT NULL,
        dtype text NOT NULL,
        forgotten xid8 NOT NULL DEFAULT '0',
        UNIQUE (collection, name)
    )
    """,
    """
    CREATE TABLE features (
        collection integer NOT NULL,
        method integer NOT NULL,
        image bigint NOT NULL,
        key bigint NOT NULL,
        txid xid8 NOT NULL DEFAULT pg_current_xact_id(),
        bytes bigint NOT NULL,
        checksum bigint NOT NULL,
        hash bytea NOT NULL,
        object text,
        data bytea,
        PRIMARY KEY (collection, image, method)
    ) PARTITION BY HASH (image)
    """,
    "ALTER TABLE features ALTER COLUMN data SET STORAGE EXTERNAL",
    *_create_partitions("features"),
    "CREATE INDEX features_by_key ON features (collection, method, key) INCLUDE (bytes)",
    "CREATE INDEX features_by_txid ON features (collection, method, txid)",
    "CREATE INDEX features_by_hash ON features (collection, method, hash, image)",
    """
    CREATE TABLE thumbnail_features (
        collection integer NOT NULL,
        image bigint NOT NULL,
        method text NOT NULL,
        dim integer NOT NULL,
        dtype text NOT NULL,
        bytes bigint NOT NULL,
        checksum bigint NOT NULL,
        object text,
        data bytea,
        PRIMARY KEY (collection, image)
    ) PARTITION BY HASH (image)
    """,
    "ALTER TABLE thumbnail_features ALTER COLUMN data SET STORAGE EXTERNAL",
    *_create_partitions("thumbnail_features"),
    "CREATE INDEX images_by_object ON images (collection, object) WHERE object IS NOT NULL",
    "CREATE INDEX features_by_object ON features (collection, object) WHERE object IS NOT NULL",
    "CREATE INDEX thumbnail_features_by_object ON thumbnail_features (collection, object)"
    " WHERE object IS NOT NULL",
    # Objects that no row names, and objects of dropped collections (sweep.py).
    """
    CREATE TABLE orphans (
        collection integer NOT NULL,
        object text NOT NULL,
        seen timestamptz NOT NULL DEFAULT clock_timestamp(),
        deleted timestamptz,
        PRIMARY KEY (collection, object)
    )
    """,
    """
    CREATE TABLE dropped (
        folder uuid PRIMARY KEY,
        objects text NOT NULL,
        at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    # What is gone: removed features, which followers of the feed apply (feed.py).
    """
    CREATE TABLE gone (
        collection integer NOT NULL,
        method integer NOT NULL,
        key bigint NOT NULL,
        txid xid8 NOT NULL DEFAULT pg_current_xact_id()
    )
    """,
    "CREATE INDEX gone_by_txid ON gone (collection, method, txid)",
    # Changes of the numbers of images (method 0) and features, which are added up: writers never wait for each
    # other to count.
    """
    CREATE TABLE counts (
        collection integer NOT NULL,
        method integer NOT NULL,
        number bigint GENERATED ALWAYS AS IDENTITY,
        images bigint NOT NULL,
        bytes bigint NOT NULL,
        PRIMARY KEY (collection, method, number)
    )
    """,
    """
    CREATE TABLE failures (
        collection integer NOT NULL,
        id bytea NOT NULL,
        uri bytea NOT NULL,
        code bytea NOT NULL,
        message bytea NOT NULL,
        attempts bigint NOT NULL,
        at double precision NOT NULL,
        source bytea NOT NULL,
        PRIMARY KEY (collection, id)
    )
    """,
    """
    CREATE TABLE removals (
        collection integer NOT NULL,
        id bytea NOT NULL,
        uri bytea NOT NULL,
        uri_hash bytea NOT NULL GENERATED ALWAYS AS (sha256(uri)) STORED,
        sha256 bytea NOT NULL,
        source bytea NOT NULL,
        at double precision NOT NULL,
        PRIMARY KEY (collection, id, uri_hash)
    )
    """,
    "CREATE INDEX removals_by_sha256 ON removals (collection, sha256)",
    # Models that turn features into vectors; the vectors of each are in a table (vectors.py).
    """
    CREATE TABLE vector_models (
        key integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        collection integer NOT NULL,
        method integer NOT NULL,
        trained_on bigint NOT NULL,
        complete boolean NOT NULL DEFAULT false,
        gaps integer NOT NULL DEFAULT 0,
        data bytea NOT NULL
    )
    """,
    "CREATE INDEX vector_models_by_method ON vector_models (collection, method)",
    # How far the copies of tables of vectors in another engine are (watermarks.py).
    """
    CREATE TABLE vector_watermarks (
        model integer PRIMARY KEY,
        name text NOT NULL,
        since xid8 NOT NULL,
        copied bigint,
        seen bigint NOT NULL
    )
    """,
    """
    CREATE TABLE derived (
        collection integer NOT NULL,
        name text NOT NULL,
        version text NOT NULL,
        writer uuid NOT NULL,
        data bytea NOT NULL,
        PRIMARY KEY (collection, name)
    )
    """,
    """
    CREATE TABLE leases (
        collection integer NOT NULL,
        name bytea NOT NULL,
        holder uuid NOT NULL,
        expires timestamptz NOT NULL,
        PRIMARY KEY (collection, name)
    )
    """,
)


# What files say about images; the next ``add`` reads it. Columns without a default rewrite no row, and programs of
# the version before go on: they replace rows as a whole.
_FILE_METADATA = (
    "ALTER TABLE images ADD COLUMN file_stamp text, ADD COLUMN stack text, ADD COLUMN burst text,"
    " ADD COLUMN properties text, ADD COLUMN file_checksum bigint, ADD COLUMN file_tags jsonb",
    "CREATE INDEX images_by_stack ON images (collection, stack, id) WHERE stack <> ''",
    "CREATE INDEX images_by_burst ON images (collection, burst, id) WHERE burst <> ''",
    "CREATE INDEX images_by_file_tags ON images USING gin (file_tags jsonb_path_ops)",
)

# What is kept of uploaded images (kept_rows.py). Programs of earlier versions would sweep its objects as orphans.
_KEPT = (
    """
    CREATE TABLE kept (
        collection integer NOT NULL,
        image bigint NOT NULL,
        kind text NOT NULL,
        bytes bigint NOT NULL,
        checksum bigint NOT NULL,
        object text,
        data bytea,
        PRIMARY KEY (collection, image, kind)
    )
    """,
    "ALTER TABLE kept ALTER COLUMN data SET STORAGE EXTERNAL",
    "CREATE INDEX kept_by_object ON kept (collection, object) WHERE object IS NOT NULL",
)


@dataclass(frozen=True, slots=True)
class Tables:
    """Tables that one part of imagefinder owns, with their own version.

    Attributes:
        name: Name of the part.
        versions: The statements of each version, which lead to it from the one before.
            Statements must not rewrite large tables: opening must stay fast.
        oldest: The oldest version whose programs can still use the tables of the last one, so that the machines
            of a cluster can be upgraded one after the other.
    """

    name: str
    versions: Sequence[Sequence[str]]
    oldest: int = 1


STORE = Tables("store", (_TABLES, _FILE_METADATA, _KEPT, LISTING), oldest=3)
"""The tables of this package."""


def prepare(database: Database, part: Tables, *, create: bool) -> bool:
    """Bring the tables of a part to the present version.

    Args:
        database: The database.
        part: The part.
        create: Create them if they do not exist.

    Returns:
        Whether they exist now.

    Raises:
        CollectionFormatError: a newer version of imagefinder made them.
    """
    version, oldest = database.read(lambda connection: _version(connection, part))
    if version == 0 and not create:
        return False
    if version < len(part.versions):
        database.write(lambda connection: _migrate(connection, part), seconds=_SECONDS)
    elif oldest > len(part.versions):
        raise CollectionFormatError(
            f"the tables of {part.name} in {database.shown} have the newer version {version}; this version of "
            f"imagefinder requires {len(part.versions)}",
            hint="use the version of imagefinder that the other machines use",
        )
    return True


def version_of(database: Database, part: Tables) -> int:
    """The version of the tables of a part; 0 if there are none."""
    return database.read(lambda connection: _version(connection, part))[0]


def open_collection(database: Database, name: str, *, create: bool) -> int:
    """The key of a collection; its tables are brought to the present version.

    Raises:
        CollectionNotFoundError: it does not exist, and ``create`` is false.
        CollectionFormatError: a newer version of imagefinder made the tables.
    """
    exists = prepare(database, STORE, create=create)
    select = "SELECT key FROM collections WHERE name = %s"
    row = database.read(lambda connection: connection.execute(select, [name]).fetchone()) if exists else None
    if row is None and create:
        insert = "INSERT INTO collections (name) VALUES (%s) ON CONFLICT DO NOTHING"
        database.run(lambda connection: connection.execute(insert, [name]))
        row = database.read(lambda connection: connection.execute(select, [name]).fetchone())
    if row is None:
        raise CollectionNotFoundError(
            f"there is no collection {database.shown}/{name}",
            hint="create it by adding images: imagefinder add -c LOCATION FOLDER_WITH_IMAGES",
        )
    return int(row[0])


def drop_collection(database: Database, name: str) -> bool:
    """Delete a collection and all its rows; returns whether it existed. A later sweep deletes its objects."""

    def work(connection: Connection) -> tuple[int] | None:
        found = connection.execute("SELECT key FROM collections WHERE name = %s", [name]).fetchone()
        if found is not None:
            lock_methods(connection, found[0], exclusive=True)  # wait for writers; the next ones find it deleted
            connection.execute(
                "WITH lost AS (DELETE FROM collections WHERE key = %s RETURNING folder, objects)"
                " INSERT INTO dropped (folder, objects)"
                " SELECT folder, objects FROM lost WHERE objects IS NOT NULL",
                [found[0]],
            )
        return found

    row = database.write(work)
    if row is None:
        return False
    drop_vectors(database, row[0])
    for table in (*OWNED, "methods"):
        while database.run(lambda connection: delete_some(connection, table, row[0])):  # noqa: B023 - called here
            pass
    return True


OWNED = (
    "images",
    *partitions("features"),
    *partitions("thumbnail_features"),
    "kept",
    *("gone", "counts", "failures", "removals", "derived", "leases"),
    "orphans",
    *("listing", "listing_due"),
)
"""The tables of this package, and partitions, whose rows belong to one collection, apart from ``methods``."""


def delete_some(connection: Connection, table: str, collection: int, condition: str = "true") -> int:
    """Delete up to 10,000 rows of a collection, so that no transaction takes long; returns their number.

    Args:
        connection: A connection.
        table: A table or a partition; a row number identifies a row of only one of them.
        collection: Key of the collection.
        condition: Which rows.
    """
    return connection.execute(
        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table}"
        f" WHERE collection = %s AND {condition} LIMIT 10000)) AND collection = %s",
        [collection, collection],
    ).rowcount


def _version(connection: Connection, part: Tables) -> tuple[int, int]:
    """The version of the tables of a part, and the oldest one that can use them; 0 if there are none."""
    (table,) = connection.execute("SELECT to_regclass(%s)", [f"{SCHEMA}.versions"]).fetchone() or (None,)
    if table is None:
        return 0, 0
    row = connection.execute("SELECT version, oldest FROM versions WHERE part = %s", [part.name]).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def _migrate(connection: Connection, part: Tables) -> None:
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {SCHEMA}.versions"
        " (part text PRIMARY KEY, version integer NOT NULL, oldest integer NOT NULL)"
    )
    version, _ = _version(connection, part)
    for statements in part.versions[version:]:
        for statement in statements:
            connection.execute(statement)
    if version < len(part.versions):
        connection.execute(
            "INSERT INTO versions VALUES (%s, %s, %s) ON CONFLICT (part)"
            " DO UPDATE SET version = excluded.version, oldest = excluded.oldest",
            [part.name, len(part.versions), part.oldest],
        )
