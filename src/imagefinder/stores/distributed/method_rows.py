"""Read and write the table of methods, and add up the counts."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from imagefinder.core.errors import CollectionCorruptError, CollectionMovedError
from imagefinder.core.features import FeatureSpec
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.stores.distributed.pool import Connection

IMAGES = 0
"""The method of the counts that are numbers of images."""

_LOCK = int.from_bytes(b"meth")
"""First key of the advisory locks of methods; the second is the collection."""

_FOLD_EVERY = 100
"""One of this many writes adds up the counts, so that few rows have to be read."""


@dataclass(frozen=True, slots=True)
class RegisteredMethod:
    """A registered method.

    Attributes:
        key: Primary key.
        fingerprint: Fingerprint of the stored features, as JSON.
        spec: Kind, dimension and type of the stored features.
    """

    key: int
    fingerprint: str
    spec: FeatureSpec


def lock_methods(connection: Connection, collection: int, *, exclusive: bool) -> None:
    """Keep the methods of a collection as they are until the transaction ends.

    Writers of features share this lock, and whoever changes the methods waits for them. Locks of the rows of
    methods would be written to them by each writer.
    """
    function = "pg_advisory_xact_lock" if exclusive else "pg_advisory_xact_lock_shared"
    connection.execute(f"SELECT {function}(%s, %s)", [_LOCK, collection])


def read_methods(connection: Connection, collection: int) -> dict[str, RegisteredMethod]:
    """All methods by name, sorted by name.

    Raises:
        CollectionCorruptError: a row contains no valid spec.
        CollectionMovedError: the collection was deleted.
    """
    rows = connection.execute(
        "SELECT methods.name, methods.key, fingerprint, kind, dim, dtype"
        " FROM collections LEFT JOIN methods ON methods.collection = collections.key"
        " WHERE collections.key = %s ORDER BY methods.name",
        [collection],
        binary=True,
    ).fetchall()
    if not rows:
        raise deleted()
    return {
        name.decode(): RegisteredMethod(key, fingerprint, _spec(name, kind, dim, dtype))
        for name, key, fingerprint, kind, dim, dtype in rows
        if key is not None
    }


def deleted() -> CollectionMovedError:
    """The error of a collection that was deleted while it was open."""
    return CollectionMovedError("the collection was deleted while it was open")


def insert_method(connection: Connection, collection: int, fingerprint: Fingerprint, spec: FeatureSpec) -> None:
    """Insert a method, unless another process has just done so."""
    connection.execute(
        "INSERT INTO methods (collection, name, fingerprint, kind, dim, dtype) VALUES (%s, %b, %s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        [collection, fingerprint.method.encode(), fingerprint.to_json(), spec.kind, spec.dim, spec.dtype],
    )


def delete_method(connection: Connection, method: int) -> None:
    """Delete a method, so that its features are not visible any more."""
    connection.execute("DELETE FROM methods WHERE key = %s", [method])


def read_summary(
    connection: Connection, collection: int
) -> tuple[int, int, dict[str, tuple[RegisteredMethod, int, int]]]:
    """Numbers of images and failures; method name -> method, number of images with its features, and their bytes.

    One statement, because searches begin with it.
    """
    rows = connection.execute(
        "SELECT (SELECT coalesce(sum(images), 0)::bigint FROM counts"
        " WHERE collection = %(collection)s AND method = 0),"
        " (SELECT count(*) FROM failures WHERE collection = %(collection)s),"
        " name, methods.key, fingerprint, kind, dim, dtype,"
        " (SELECT coalesce(sum(images), 0)::bigint FROM counts WHERE collection = %(collection)s"
        " AND method = methods.key),"
        " (SELECT coalesce(sum(bytes), 0)::bigint FROM counts WHERE collection = %(collection)s"
        " AND method = methods.key)"
        " FROM (SELECT 1) AS one LEFT JOIN methods ON methods.collection = %(collection)s ORDER BY name",
        {"collection": collection},
        binary=True,
    ).fetchall()
    images, failures = rows[0][:2]
    methods = {
        name.decode(): (RegisteredMethod(key, fingerprint, _spec(name, kind, dim, dtype)), count, size)
        for _, _, name, key, fingerprint, kind, dim, dtype, count, size in rows
        if name is not None
    }
    return images, failures, methods


def read_counts(connection: Connection, collection: int) -> dict[int, tuple[int, int]]:
    """Method key -> number of images with its features, and their bytes; ``IMAGES`` -> number of images, 0."""
    rows = connection.execute(
        "SELECT method, sum(images)::bigint, sum(bytes)::bigint FROM counts WHERE collection = %s GROUP BY method",
        [collection],
    )
    return {method: (images, size) for method, images, size in rows}


def add_counts(connection: Connection, collection: int, changes: Iterable[tuple[int, int, int]]) -> None:
    """Add to the counts: method key, images, bytes; now and then, add up all of their rows."""
    methods, images, sizes = zip(*changes, strict=True)
    connection.execute(
        "INSERT INTO counts (collection, method, images, bytes)"
        " SELECT %s, * FROM unnest(%s::integer[], %s::bigint[], %s::bigint[])",
        [collection, list(methods), list(images), list(sizes)],
    )
    if random.randrange(_FOLD_EVERY) == 0:
        fold_counts(connection, collection)


def fold_counts(connection: Connection, collection: int) -> None:
    """Replace the rows of counts by their sums, except those that another transaction replaces now."""
    connection.execute(
        "WITH listed AS (SELECT method, number FROM counts WHERE collection = %(collection)s"
        " FOR UPDATE SKIP LOCKED),"
        " folded AS (DELETE FROM counts USING listed WHERE counts.collection = %(collection)s"
        " AND counts.method = listed.method AND counts.number = listed.number"
        " RETURNING counts.method, counts.images, counts.bytes)"
        " INSERT INTO counts (collection, method, images, bytes)"
        " SELECT %(collection)s, method, sum(images), sum(bytes) FROM folded GROUP BY method",
        {"collection": collection},
    )


def _spec(name: bytes, kind: str, dim: int, dtype: str) -> FeatureSpec:
    if kind not in ("global", "local") or dtype not in ("float32", "uint8", "int8") or dim < 1:
        raise CollectionCorruptError(f"the record of the method {name.decode()!r} is damaged")
    return FeatureSpec(kind, dim, dtype)  # type: ignore[arg-type] # checked just now
