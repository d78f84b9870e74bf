"""Read and write the table of features."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imagefinder.core.errors import CollectionCorruptError, MethodNotIndexedError, UnknownImageError
from imagefinder.core.features import Features, FeatureSpec
from imagefinder.core.records import Changes, Cursor, GalleryBlock
from imagefinder.stores import codec
from imagefinder.stores.cache import Keys
from imagefinder.stores.embedded import feed
from imagefinder.stores.embedded.connections import Connections
from imagefinder.stores.embedded.method_rows import MethodRow, read_methods, read_spec

_VALUES_PER_QUERY = 500


def encode(image_id: str, features: Mapping[str, Features]) -> dict[str, codec.EncodedFeatures]:
    """Encode the features of one image, by method."""
    return {method: codec.encode(image_id, method, batch) for method, batch in features.items()}


def insert_features(
    database: sqlite3.Connection,
    image: int,
    encoded: Mapping[str, codec.EncodedFeatures],
    methods: Mapping[str, MethodRow],
) -> None:
    """Insert the features of the image with this key."""
    database.executemany(
        "INSERT INTO features (image, method, bytes, checksum, data, keypoints) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (image, methods[method].key, blobs.nbytes, blobs.checksum, blobs.data, blobs.keypoints)
            for method, blobs in encoded.items()
        ],
    )


def replace_features(
    database: sqlite3.Connection,
    image: int,
    encoded: Mapping[str, codec.EncodedFeatures],
    methods: Mapping[str, MethodRow],
) -> None:
    """Insert the features of the image with this key, replacing those of the same methods."""
    for method in encoded:
        database.execute("DELETE FROM features WHERE image = ? AND method = ?", (image, methods[method].key))
    insert_features(database, image, encoded, methods)


def read_features(database: sqlite3.Connection, image_id: str, method: str) -> Features:
    """The features of one image.

    Raises:
        UnknownImageError: no image has that id.
        MethodNotIndexedError: the image has no features of the method.
        CollectionCorruptError: the checksum is wrong.
    """
    rows = database.execute(
        "SELECT methods.name, features.key FROM images LEFT JOIN features ON features.image = images.key"
        " LEFT JOIN methods ON methods.key = features.method WHERE images.id = ?",
        (image_id,),
    ).fetchall()
    if not rows:
        raise UnknownImageError(image_id)
    keys = {name: key for name, key in rows if name is not None}
    if method not in keys:
        raise MethodNotIndexedError(method, keys, image_id)
    blobs = database.execute(
        "SELECT data, keypoints, checksum FROM features WHERE key = ?", (keys[method],)
    ).fetchone()
    _, spec = read_spec(database, method)
    return codec.decode(method, spec, [image_id], [codec.EncodedFeatures(*blobs)])


def read_all_features(database: sqlite3.Connection, image_id: str) -> dict[str, Features]:
    """The features of one image by all methods: method name -> features.

    Raises:
        CollectionCorruptError: a checksum is wrong.
    """
    rows = database.execute(
        "SELECT methods.name, data, keypoints, features.checksum FROM images"
        " JOIN features ON features.image = images.key JOIN methods ON methods.key = features.method"
        " WHERE images.id = ?",
        (image_id,),
    ).fetchall()
    methods = read_methods(database)
    return {
        name: codec.decode(name, methods[name].spec, [image_id], [codec.EncodedFeatures(*blobs)])
        for name, *blobs in rows
    }


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """The stored features of one method; a ``FeatureSource`` of the cache."""

    connections: Connections
    method: str
    key: int
    spec: FeatureSpec

    def changes(self, since: Cursor | None) -> tuple[Changes, int]:
        """Changes since a cursor, and the number of images after them.

        Raises:
            CollectionCorruptError: all images are listed, and they are not as many as were counted.
        """
        with self.connections.reading() as database:
            return feed.read_changes(database, self.key, since), feed.count_images(database, self.key)

    def load(self, listed: Keys, cursor: Cursor) -> tuple[Keys, GalleryBlock]:
        """Load the features of keys listed at a cursor that still exist, in ascending order of keys.

        Raises:
            CollectionCorruptError: the index disagrees with the table, or a checksum is wrong.
        """
        with self.connections.reading() as database:
            # Without an index: a damaged one must not shorten the result.
            query = _where("features.key BETWEEN ? AND ?", "features NOT INDEXED")
            # Each row is released as soon as it is decoded.
            keys, block = self._block(database.execute(query, (self.key, int(listed[0]), int(listed[-1]))))
            current = feed.position(database, self.key).cursor()
        if current == cursor and not np.array_equal(keys, listed):
            raise CollectionCorruptError(
                f"the index of the {self.method} features is damaged: it lists {len(listed)} images, "
                f"and the table contains {len(keys)}",
                hint=codec.REPAIR_HINT,
            )
        return keys, block

    def of_ids(self, ids: Sequence[str]) -> GalleryBlock:
        """Features of images in the order of ``ids``; unknown ids are skipped."""
        found: dict[str, Sequence[Any]] = {}
        with self.connections.reading() as database:
            for some in chunks(ids):
                query = (
                    "SELECT features.key, images.id, data, keypoints, features.checksum"  # noqa: S608 - question marks
                    # A cross join, so that SQLite begins with the ids and not with all features of the method.
                    " FROM images CROSS JOIN features ON features.image = images.key"
                    f" WHERE images.id IN ({', '.join('?' * len(some))}) AND features.method = ?"
                )
                found.update({row[1]: row for row in database.execute(query, (*some, self.key))})
        return self._block([found[image_id] for image_id in ids if image_id in found])[1]

    def of_keys(self, keys: Keys) -> tuple[Keys, GalleryBlock]:
        """The existing keys, ascending, and their features."""
        rows: list[Sequence[Any]] = []
        with self.connections.reading() as database:
            for some in chunks(keys.tolist()):
                query = _where(f"features.key IN ({', '.join('?' * len(some))})")
                rows += database.execute(query, (self.key, *some)).fetchall()
        rows.sort(key=lambda row: int(row[0]))
        return self._block(rows)

    def checksums(self, keys: Keys) -> dict[int, int]:
        """Checksums of the existing keys, by key."""
        found: dict[int, int] = {}
        with self.connections.reading() as database:
            for some in chunks(keys.tolist()):
                query = (
                    "SELECT key, checksum FROM features"  # noqa: S608 - question marks
                    f" WHERE method = ? AND key IN ({', '.join('?' * len(some))})"
                )
                found.update(database.execute(query, [self.key, *some]).fetchall())
        return found

    def _block(self, rows: Iterable[Sequence[Any]]) -> tuple[Keys, GalleryBlock]:
        """Keys and features of rows (key, id, data, keypoints, checksum)."""
        decoder = codec.FeatureDecoder(self.method, self.spec)
        keys, ids = [], []
        for key, image_id, *encoded in rows:
            decoder.add(image_id, codec.EncodedFeatures(*encoded))
            keys.append(key)
            ids.append(image_id)
        return np.array(keys, dtype=np.int64), GalleryBlock(tuple(ids), decoder.features())


def _where(condition: str, table: str = "features") -> str:
    return (
        "SELECT features.key, images.id, data, keypoints, features.checksum"  # noqa: S608 - conditions are our own
        # Not an inner join: an image that is missing in ``images`` is damage and must not shorten the result.
        f" FROM {table} LEFT JOIN images ON images.key = features.image"
        f" WHERE features.method = ? AND {condition} ORDER BY features.key"
    )


def chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Split values into chunks for one query each."""
    for start in range(0, len(values), _VALUES_PER_QUERY):
        yield values[start : start + _VALUES_PER_QUERY]
