"""Batches of images: prepared outside transactions, and written or deleted in one transaction each."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import errors

from imagefinder.core.records import Entry
from imagefinder.stores.distributed import (
    feature_rows,
    feed,
    image_rows,
    kept_rows,
    method_rows,
    removal_rows,
    thumbnail_rows,
)
from imagefinder.stores.distributed.failure_rows import forget_failures
from imagefinder.stores.distributed.method_rows import RegisteredMethod
from imagefinder.stores.distributed.payloads import Payloads, StoredBytes
from imagefinder.stores.distributed.pool import Connection, Database
from imagefinder.stores.distributed.schema import delete_some, partitions
from imagefinder.stores.distributed.sweep import Claim

_FORGET_EVERY = 200
"""One of this many deletions shortens the record of removed features."""

CONFLICTS = (errors.UniqueViolation,)
"""Errors of two writers that put the same image at once; the one that repeats its transaction is the later one."""

THUMBNAILS = "thumbnails"
"""Kind of the bytes of images, for ``Payloads.store``."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Images that are ready to be written; their bytes are compressed and, as objects, stored already.

    Attributes:
        entries: The images.
        replacing: Ids that are removed first.
        features: Features of the images.
        thumbnails: Thumbnail of each image.
        of_thumbnails: Features of the thumbnail of each image.
        kept: What is kept of the images.
        copied: Whether to keep the times of the records.
    """

    entries: Sequence[Entry]
    replacing: Sequence[str]
    features: Sequence[feature_rows.NewFeatures]
    thumbnails: Sequence[StoredBytes]
    of_thumbnails: Sequence[thumbnail_rows.NewThumbnailFeatures | None]
    kept: Sequence[kept_rows.NewKept]
    copied: bool

    @property
    def stored(self) -> list[StoredBytes]:
        """All bytes of the batch."""
        of_thumbnails = [one.stored for one in self.of_thumbnails if one is not None]
        kept = [one.stored for one in self.kept]
        return [*self.thumbnails, *of_thumbnails, *(one.stored for one in self.features), *kept]


def prepare(entries: Sequence[Entry], replacing: Sequence[str], payloads: Payloads, *, copied: bool) -> Batch:
    """Encode, compress and store the features and thumbnails of images."""
    images = [(entry.image.id, entry.image.sha256, entry.features) for entry in entries]
    return Batch(
        entries,
        replacing,
        feature_rows.prepare(images, payloads),
        payloads.store(THUMBNAILS, [entry.thumbnail or None for entry in entries]),
        thumbnail_rows.prepare([(entry.image.id, entry.thumbnail_features) for entry in entries], payloads),
        kept_rows.prepare(entries, payloads),
        copied,
    )


def make_room(connection: Connection, collection: int, batch: Batch) -> ReservedKeys:
    """Begin to write a batch: delete the earlier images with its ids, and reserve keys.

    Nothing waits for the server; the keys are read by ``insert``.
    """
    method_rows.lock_methods(connection, collection, exclusive=False)
    ids = [entry.image.id for entry in batch.entries]
    existing = [*dict.fromkeys([*batch.replacing, *ids])]
    image_rows.lock_images(connection, collection, existing)
    delete_images(connection, collection, existing)
    removal_rows.clear_removals(connection, collection, [entry.image for entry in batch.entries])
    forget_failures(connection, collection, ids)
    return _keys(connection, len(ids) + len(batch.features), Claim(connection, collection, batch.stored))


def insert(
    connection: Connection,
    collection: int,
    batch: Batch,
    reserved: ReservedKeys,
    methods: Mapping[str, RegisteredMethod],
) -> list[int]:
    """Insert the images of a batch after ``make_room``; returns the keys of the features."""
    keys, count = reserved.read(), len(batch.entries)
    images = keys[:count]
    image_rows.insert_images(connection, collection, batch.entries, images, batch.thumbnails, copied=batch.copied)
    feature_rows.insert_features(connection, collection, batch.features, images, keys[count:], methods=methods)
    thumbnail_rows.insert(connection, collection, images, batch.of_thumbnails)
    kept_rows.insert(connection, collection, images, batch.kept)
    if count:
        _count(connection, collection, count, batch.features, methods)
    return keys[count:]


def replace_features(
    connection: Connection,
    collection: int,
    image_id: str,
    new: Sequence[feature_rows.NewFeatures],
    methods: Mapping[str, RegisteredMethod],
) -> list[int]:
    """Insert features of a stored image, replacing those of the same methods; returns their keys.

    Raises:
        UnknownImageError: no image has this id.
    """
    image = image_rows.key_of(connection, collection, image_id)
    if not new:
        return []
    feature_rows.delete_features(connection, collection, image, [methods[one.method].key for one in new])
    keys = _keys(connection, len(new), Claim(connection, collection, [one.stored for one in new])).read()
    feature_rows.insert_features(connection, collection, new, [image], keys, methods=methods)
    _count(connection, collection, 0, new, methods)
    return keys


def delete(connection: Connection, collection: int, ids: Sequence[str], remember: bool) -> int:
    """Delete images, and record their removal if ``remember``; returns how many existed."""
    image_rows.lock_images(connection, collection, ids)
    if remember:
        removal_rows.remember(connection, collection, ids)
    deleted = delete_images(connection, collection, ids)
    if random.randrange(_FORGET_EVERY) == 0:
        feed.forget_removals(connection, collection)
    row = deleted.fetchone()
    return int(row[0]) if row else 0


def delete_images(connection: Connection, collection: int, ids: Sequence[str]) -> Any:
    """Delete images with all that belongs to them, record what is gone, and count it.

    Returns:
        The cursor of a statement whose only row is the number of images.
    """
    return connection.execute(
        "WITH lost AS (DELETE FROM images WHERE collection = %(collection)s AND id = ANY(%(ids)b) RETURNING key),"
        " lost_features AS (DELETE FROM features USING lost WHERE collection = %(collection)s"
        " AND image = lost.key RETURNING method, features.key, bytes),"
        " lost_thumbnails AS (DELETE FROM thumbnail_features USING lost WHERE collection = %(collection)s"
        " AND image = lost.key),"
        " lost_kept AS (DELETE FROM kept USING lost WHERE collection = %(collection)s AND image = lost.key),"
        " recorded AS (INSERT INTO gone (collection, method, key)"
        " SELECT %(collection)s, method, key FROM lost_features),"
        " counted AS (INSERT INTO counts (collection, method, images, bytes)"
        " SELECT %(collection)s, method, -count(*), -sum(bytes) FROM lost_features GROUP BY method"
        " UNION ALL SELECT %(collection)s, 0, -count(*), 0 FROM lost HAVING count(*) > 0)"
        " SELECT count(*) FROM lost",
        {"collection": collection, "ids": image_rows.encoded(ids)},
    )


def delete_orphans(database: Database, collection: int, method: int) -> None:
    """Delete the features, removals and counts of a method that is not registered any more."""
    for table in (*partitions("features"), "gone", "counts"):
        while database.run(
            lambda connection: delete_some(connection, table, collection, f"method = {int(method)}")  # noqa: B023
        ):
            pass


@dataclass(frozen=True, slots=True)
class ReservedKeys:
    """New keys, and the claim on the objects of their rows; the server has been called for both."""

    rows: Any
    claim: Claim

    def read(self) -> list[int]:
        """The keys, ascending.

        Raises:
            StoreUnavailableError: an object is marked as an orphan.
        """
        keys = sorted(key for (key,) in self.rows)
        self.claim.confirm()
        return keys


def _keys(connection: Connection, n: int, claim: Claim) -> ReservedKeys:
    return ReservedKeys(
        connection.execute("SELECT nextval('keys') FROM generate_series(1, %s)", [n], binary=True), claim
    )


def _count(
    connection: Connection,
    collection: int,
    images: int,
    new: Sequence[feature_rows.NewFeatures],
    methods: Mapping[str, RegisteredMethod],
) -> None:
    sizes: dict[int, list[int]] = {}
    for one in new:
        sizes.setdefault(methods[one.method].key, []).append(one.size)
    changes = [(method_rows.IMAGES, images, 0)] if images else []
    changes += [(key, len(of_method), sum(of_method)) for key, of_method in sizes.items()]
    method_rows.add_counts(connection, collection, changes)
