"""The table of features."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imagefinder.core.errors import CollectionCorruptError, MethodNotIndexedError, UnknownImageError
from imagefinder.core.features import Features, FeatureSpec
from imagefinder.core.records import Changes, GalleryBlock
from imagefinder.stores.embedded import codec
from imagefinder.stores.embedded.cache import Keys
from imagefinder.stores.embedded.connections import Connections
from imagefinder.stores.embedded.method_rows import MethodRow, read_methods

_VALUES_PER_QUERY = 500


def encode(image_id: str, features: Mapping[str, Features]) -> dict[str, codec.Blobs]:
    """Method -> what is stored of the features of one image."""
    return {method: codec.encode(image_id, method, batch) for method, batch in features.items()}


def insert_features(
    database: sqlite3.Connection, image: int, encoded: Mapping[str, codec.Blobs], methods: Mapping[str, MethodRow]
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
    database: sqlite3.Connection, image: int, encoded: Mapping[str, codec.Blobs], methods: Mapping[str, MethodRow]
) -> None:
    """Insert the features of the image with this key, in place of earlier ones of the same methods."""
    for method in encoded:
        database.execute("DELETE FROM features WHERE image = ? AND method = ?", (image, methods[method].key))
    insert_features(database, image, encoded, methods)


def read_features(database: sqlite3.Connection, image_id: str, method: str) -> Features:
    """The features of one image.

    Raises:
        UnknownImageError: there is no such image.
        MethodNotIndexedError: it has no features of the method.
        CollectionCorruptError: they do not have their checksum.
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
    spec = read_methods(database)[method].spec
    return codec.decode(method, spec, [image_id], [codec.Blobs(*blobs)])


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """The features of one method; a ``Source`` of the cache."""

    connections: Connections
    method: str
    key: int
    spec: FeatureSpec

    def changes(self, revision: int, last: int, count: int) -> Changes | None:
        """See ``Source``."""
        with self.connections.reading() as database:
            now, images = self._state(database)
            if now == revision:
                return None
            listing = database.execute(
                "SELECT key, bytes FROM features WHERE method = ? AND key > ? ORDER BY key", (self.key, last)
            ).fetchall()
            pairs = np.array(listing, dtype=np.int64).reshape(-1, 2)
            alive: Keys | None = None
            if count + len(pairs) != images:
                rows = database.execute("SELECT key FROM features WHERE method = ? ORDER BY key", (self.key,))
                alive = np.fromiter((key for (key,) in rows), dtype=np.int64)
                # Both come from one index; where it is damaged they need not agree.
                if now >= 0 and (len(alive) != images or not np.array_equal(alive[alive > last], pairs[:, 0])):
                    raise CollectionCorruptError(
                        f"{images} images with {self.method} features are counted, and others are listed",
                        hint=codec.REPAIR_HINT,
                    )
        return Changes(now, pairs[:, 0].copy(), pairs[:, 1].copy(), alive)

    def _state(self, database: sqlite3.Connection) -> tuple[int, int]:
        """Revision and number of images; (-1, 0) when the method is gone, and its features with it."""
        row = database.execute("SELECT revision, images FROM methods WHERE key = ?", (self.key,)).fetchone()
        # With the key: a method that is registered again counts from the beginning.
        return (row[0] + (self.key << 40), row[1]) if row else (-1, 0)

    def load(self, listed: Keys, revision: int) -> tuple[Keys, GalleryBlock]:
        """See ``Source``.

        Raises:
            CollectionCorruptError: the index lists others than the table holds; features have not their checksum.
        """
        with self.connections.reading() as database:
            # By the table alone: a damaged index must not shorten an answer.
            query = _where("features.key BETWEEN ? AND ?", "features NOT INDEXED")
            rows = database.execute(query, (self.key, int(listed[0]), int(listed[-1]))).fetchall()
            now, _ = self._state(database)
        keys, block = self._block(rows)
        if now == revision and not np.array_equal(keys, listed):
            raise CollectionCorruptError(
                f"{len(listed)} {self.method} features are listed, and {len(keys)} are there",
                hint=codec.REPAIR_HINT,
            )
        return keys, block

    def of_ids(self, ids: Sequence[str]) -> GalleryBlock:
        """Features of images in the order of ``ids``; unknown ones are left out."""
        found: dict[str, Sequence[Any]] = {}
        for some in portions(ids):
            for row in self._rows(f"images.id IN ({', '.join('?' * len(some))})", some):
                found[row[1]] = row
        return self._block([found[image_id] for image_id in ids if image_id in found])[1]

    def of_keys(self, keys: Keys) -> tuple[Keys, GalleryBlock]:
        """Those keys that are still there, ascending, and their features."""
        rows: list[Sequence[Any]] = []
        for some in portions(keys.tolist()):
            rows += self._rows(f"features.key IN ({', '.join('?' * len(some))})", some)
        rows.sort(key=lambda row: int(row[0]))
        return self._block(rows)

    def checksums(self, keys: Keys) -> dict[int, int]:
        """Key -> checksum of those that are still there."""
        found: dict[int, int] = {}
        with self.connections.reading() as database:
            for some in portions(keys.tolist()):
                query = (
                    "SELECT key, checksum FROM features"  # noqa: S608 - question marks
                    f" WHERE method = ? AND key IN ({', '.join('?' * len(some))})"
                )
                found.update(database.execute(query, [self.key, *some]).fetchall())
        return found

    def _rows(self, condition: str, values: Sequence[Any]) -> list[Sequence[Any]]:
        """(key, id, data, keypoints, checksum) of the features that a condition names, in order of keys."""
        with self.connections.reading() as database:
            return database.execute(_where(condition), (self.key, *values)).fetchall()

    def _block(self, rows: Sequence[Sequence[Any]]) -> tuple[Keys, GalleryBlock]:
        """Such rows as keys and features."""
        keys = np.array([row[0] for row in rows], dtype=np.int64)
        ids = tuple(row[1] for row in rows)
        features = codec.decode(self.method, self.spec, ids, [codec.Blobs(*row[2:]) for row in rows])
        return keys, GalleryBlock(ids, features)


def _where(condition: str, table: str = "features") -> str:
    return (
        "SELECT features.key, images.id, data, keypoints, features.checksum"  # noqa: S608 - conditions are our own
        # An image that is missing here is damage, and must not shorten an answer: no inner join.
        f" FROM {table} LEFT JOIN images ON images.key = features.image"
        f" WHERE features.method = ? AND {condition} ORDER BY features.key"
    )


def portions(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The values, as many at a time as one query takes."""
    for begin in range(0, len(values), _VALUES_PER_QUERY):
        yield values[begin : begin + _VALUES_PER_QUERY]
