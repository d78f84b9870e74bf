"""Read and write the table of features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import CollectionCorruptError, MethodNotIndexedError, UnknownImageError
from imagefinder.core.features import Features, FeatureSpec
from imagefinder.core.filters import Filter
from imagefinder.core.records import GalleryBlock, ImageRecord
from imagefinder.stores.codec import (
    REPAIR_HINT,
    EncodedFeatures,
    FeatureDecoder,
    content_checksum,
    damaged,
    encode,
)
from imagefinder.stores.distributed import image_rows, sql_filter
from imagefinder.stores.distributed.codec import FrameExpander, compress
from imagefinder.stores.distributed.method_rows import RegisteredMethod
from imagefinder.stores.distributed.payloads import Payloads, StoredBytes
from imagefinder.stores.distributed.pool import Connection

Keys = NDArray[np.int64]

_ROWS = (
    "SELECT features.key, images.id, features.checksum, features.object, features.data FROM features"
    # A method that is being removed has features for a while, but is not registered any more.
    " JOIN methods ON methods.key = features.method"
    # Not an inner join: an image that is missing in ``images`` is damage and must not shorten the result.
    " LEFT JOIN images ON images.collection = features.collection AND images.key = features.image"
    " WHERE features.collection = %s AND features.method = %s"
)


@dataclass(frozen=True, slots=True)
class NewFeatures:
    """Features of one image that are ready to be inserted.

    Attributes:
        image: Number of the image in its batch.
        method: Name of the method.
        size: Bytes of the plain features.
        checksum: ``codec.checksum`` of the plain features.
        hash: The content by which the image is sampled: its SHA-256, or a hash of the features.
        stored: The compressed features.
    """

    image: int
    method: str
    size: int
    checksum: int
    hash: bytes
    stored: StoredBytes


def prepare(images: Sequence[tuple[str, str, Mapping[str, Features]]], payloads: Payloads) -> list[NewFeatures]:
    """Encode, compress and store the features of images: id, SHA-256 and features of each."""
    parts = []
    for number, (image_id, sha256, features) in enumerate(images):
        for method, batch in features.items():
            plain = encode(image_id, method, batch)
            content = sha256 or f"{content_checksum(image_id, method, plain.nbytes, plain.checksum):08x}"
            frame = compress(image_id, method, plain)
            parts.append((number, method, plain.nbytes, plain.checksum, content.encode(), frame))
    made = []
    for method in dict.fromkeys(part[1] for part in parts):
        of_method = [part for part in parts if part[1] == method]
        stored = payloads.store(method, [part[-1] for part in of_method])
        made += [NewFeatures(*part[:-1], one) for part, one in zip(of_method, stored, strict=True)]
    return made


def insert_features(
    connection: Connection,
    collection: int,
    new: Sequence[NewFeatures],
    images: Sequence[int],
    keys: Sequence[int],
    *,
    methods: Mapping[str, RegisteredMethod],
) -> None:
    """Insert features with these keys, of images with these keys."""
    if not new:
        return
    columns = (
        [methods[one.method].key for one in new],
        [images[one.image] for one in new],
        list(keys),
        [one.size for one in new],
        [one.checksum for one in new],
        [one.hash for one in new],
        [one.stored.object for one in new],
        [one.stored.data for one in new],
    )
    connection.execute(
        "INSERT INTO features (collection, method, image, key, bytes, checksum, hash, object, data)"
        " SELECT %s, * FROM unnest(%b::integer[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[],"
        " %b::bytea[], %b::text[], %b::bytea[])",
        [collection, *columns],
    )


def delete_features(connection: Connection, collection: int, image: int, methods: Sequence[int]) -> None:
    """Delete the features of an image by some methods, record what is gone, and count it."""
    connection.execute(
        "WITH lost AS (DELETE FROM features WHERE collection = %(collection)s AND image = %(image)s"
        " AND method = ANY(%(methods)s) RETURNING method, key, bytes),"
        " recorded AS (INSERT INTO gone (collection, method, key) SELECT %(collection)s, method, key FROM lost)"
        " INSERT INTO counts (collection, method, images, bytes)"
        " SELECT %(collection)s, method, -count(*), -sum(bytes) FROM lost GROUP BY method",
        {"collection": collection, "image": image, "methods": list(methods)},
    )


def read_one(connection: Connection, collection: int, image_id: str, method: str) -> tuple[FeatureSpec, list[Any]]:
    """The spec of a method, and the row of the features of one image.

    Raises:
        UnknownImageError: no image has that id.
        MethodNotIndexedError: the image has no features of the method.
    """
    rows = read_all(connection, collection, image_id, only=method)
    if method not in rows:
        raise MethodNotIndexedError(method, rows, image_id)
    return rows[method]


def read_all(
    connection: Connection, collection: int, image_id: str, only: str | None = None
) -> dict[str, tuple[FeatureSpec, list[Any]]]:
    """Method name -> its spec, and the row of the features of one image; without their bytes unless ``only``.

    Raises:
        UnknownImageError: no image has that id.
    """
    rows = connection.execute(
        "SELECT methods.name, kind, dim, dtype, features.key, images.id, features.checksum, features.object,"
        " CASE WHEN %b::bytea IS NULL OR methods.name = %b THEN data END"
        " FROM images LEFT JOIN (features JOIN methods ON methods.key = features.method)"
        " ON features.collection = images.collection AND image = images.key"
        " WHERE images.collection = %s AND images.id = %b",
        [*[only and only.encode()] * 2, collection, image_id.encode()],
        binary=True,
    ).fetchall()
    if not rows:
        raise UnknownImageError(image_id)
    return {
        name.decode(): (FeatureSpec(kind, dim, dtype), row)
        for name, kind, dim, dtype, *row in rows
        if name is not None
    }


def read_ids(connection: Connection, collection: int, method: int, ids: Sequence[str]) -> list[Any]:
    """Rows of the features of images with these ids."""
    return connection.execute(
        f"{_ROWS} AND images.id = ANY(%b)",
        [collection, method, image_rows.encoded(ids)],
        binary=True,
    ).fetchall()


def read_keys(connection: Connection, collection: int, method: int, keys: Keys) -> list[Any]:
    """Rows of the features with these keys, in ascending order of keys."""
    return connection.execute(
        f"{_ROWS} AND features.key = ANY(%b) ORDER BY features.key",
        [collection, method, keys.tolist()],
        binary=True,
    ).fetchall()


def matching_keys(connection: Connection, collection: int, method: int, keys: Keys, where: Filter) -> list[int]:
    """Those of the keys of the features of a method whose images match a filter, in no order.

    Raises:
        CollectionCorruptError: the checksum of a preselected record is wrong.
    """
    condition = sql_filter.on_metadata(where)
    rows = connection.execute(
        f"SELECT features.key, {image_rows.RECORD} FROM features"
        " JOIN images ON images.collection = features.collection AND images.key = image"
        " WHERE features.collection = %s AND method = %s AND features.key = ANY(%b)"
        f" AND {condition.sql}",
        [collection, method, keys.tolist(), *condition.values],
        binary=True,
    )
    return [key for key, *row in rows if where.matches(image_rows.record_of(row).filterable)]


def read_checksums(connection: Connection, collection: int, method: int, keys: Keys) -> dict[int, int]:
    """Checksums of the existing keys, by key."""
    rows = connection.execute(
        "SELECT features.key, checksum FROM features JOIN methods ON methods.key = method"
        " WHERE features.collection = %s AND method = %s AND features.key = ANY(%b)",
        [collection, method, keys.tolist()],
        binary=True,
    )
    return dict(rows.fetchall())


@dataclass(frozen=True, slots=True)
class Expanded:
    """Features of one image, expanded but not compared with their checksum yet.

    Attributes:
        key: Key of the features.
        image_id: Id of the image.
        encoded: The features; ``None`` if they are damaged.
    """

    key: int
    image_id: str
    encoded: EncodedFeatures | None


def expanded(method: str, spec: FeatureSpec, rows: Sequence[Sequence[Any]], payloads: Payloads) -> list[Expanded]:
    """Load and expand the features of rows (key, id, checksum, object, data).

    Raises:
        CollectionCorruptError: an image is missing.
    """
    expander = FrameExpander(spec)
    frames = payloads.load([StoredBytes(row[3], row[4]) for row in rows])
    found = []
    for (key, raw_id, checksum, *_), frame in zip(rows, frames, strict=True):
        if raw_id is None:
            raise CollectionCorruptError(
                f"the {method} features with the key {key} belong to no image", hint=REPAIR_HINT
            )
        found.append(Expanded(key, raw_id.decode(), expander.expand(frame or b"", checksum)))
    return found


def block_of(
    method: str, spec: FeatureSpec, rows: Sequence[Sequence[Any]], payloads: Payloads
) -> tuple[Keys, GalleryBlock]:
    """Keys and features of rows (key, id, checksum, object, data).

    Raises:
        CollectionCorruptError: an image is missing, or a checksum is wrong.
    """
    return joined(method, spec, expanded(method, spec, rows, payloads))


def joined(method: str, spec: FeatureSpec, found: Iterable[Expanded]) -> tuple[Keys, GalleryBlock]:
    """Keys and features of images.

    Raises:
        CollectionCorruptError: a checksum is wrong.
    """
    decoder = FeatureDecoder(method, spec)
    keys, ids = [], []
    for one in found:
        if one.encoded is None:
            raise damaged(one.image_id, method)
        decoder.add(one.image_id, one.encoded)
        keys.append(one.key)
        ids.append(one.image_id)
    return np.array(keys, dtype=np.int64), GalleryBlock(tuple(ids), decoder.features())


def read_sample(connection: Connection, collection: int, method: int, n: int) -> list[str]:
    """The ids of the ``n`` images with the smallest hashes of their content, in the order of the hashes."""
    rows = connection.execute(
        "SELECT DISTINCT ON (hash) id FROM features"
        " JOIN images ON images.collection = features.collection AND images.key = image"
        " WHERE features.collection = %s AND method = %s ORDER BY hash, id LIMIT %s",
        [collection, method, max(n, 0)],
        binary=True,
    )
    return [image_id.decode() for (image_id,) in rows]


def read_digest_parts(
    connection: Connection, collection: int, ids: Sequence[str]
) -> list[tuple[ImageRecord, int | None, dict[str, int]]]:
    """The record, the checksum of the thumbnail and those of the features of the images that exist.

    Raises:
        CollectionCorruptError: the checksum of a record is wrong.
    """
    rows = connection.execute(
        f"SELECT {image_rows.RECORD}, ARRAY(SELECT name FROM features JOIN methods ON methods.key = method"
        " WHERE features.collection = images.collection AND image = images.key ORDER BY method),"
        " ARRAY(SELECT features.checksum FROM features JOIN methods ON methods.key = method"
        " WHERE features.collection = images.collection AND image = images.key ORDER BY method)"
        " FROM images WHERE collection = %s AND id = ANY(%b)",
        [collection, image_rows.encoded(ids)],
        binary=True,
    )
    return [
        (
            image_rows.record_of(row),
            row[image_rows.THUMBNAIL],
            {name.decode(): checksum for name, checksum in zip(names, checksums, strict=True)},
        )
        for *row, names, checksums in rows
    ]
