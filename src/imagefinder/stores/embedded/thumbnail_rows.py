"""Read and write the table of features of thumbnails, which are derived from the thumbnails.

Half of a thumbnail's descriptors are small numbers: a Huffman code (deflate without searching for repetitions)
takes three quarters of their bytes, and 0.5 ms to read.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from imagefinder.core.features import FeatureSpec, LocalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Damage, ThumbnailFeatures, ThumbnailUsage
from imagefinder.stores import codec, validation
from imagefinder.stores.embedded.connections import Connections
from imagefinder.stores.embedded.feature_rows import chunks

_DAMAGED = "the features of the thumbnail of image {!r} are damaged"
_ROWS = 64
_LARGEST = 256 << 20
"""Limit for decompressed bytes; far above the size of the features of any thumbnail."""

Row = tuple[str, int, int, bytes, bytes]
"""Digest of the fingerprint, bytes of both blobs, checksum, descriptors and keypoints."""


class ThumbnailLookups:
    """The part of the store that reads and completes the features of thumbnails (``StoreThumbnails``)."""

    _connections: Connections

    def thumbnail_features(
        self, ids: Sequence[str], fingerprint: Fingerprint, spec: FeatureSpec
    ) -> dict[str, LocalFeatures]:
        """The features of the thumbnails of the images that have intact ones, by id."""
        valid = validation.valid_ids(ids)
        with self._connections.reading() as database:
            return _read(database, valid, fingerprint, spec)

    def put_thumbnail_features(
        self, made: Mapping[str, ThumbnailFeatures], thumbnails: Mapping[str, bytes]
    ) -> None:
        """Store features of the thumbnails of images that still have these thumbnails."""
        valid = validation.valid_ids(list(made))
        for image_id in valid:
            validation.check_one_image(image_id, {"thumbnail": made[image_id].features})
        rows = {image_id: encode(image_id, made[image_id]) for image_id in valid}
        if rows:
            with self._connections.writing() as database:
                _insert_for(database, rows, thumbnails)

    def lacking_thumbnail_features(self, fingerprint: Fingerprint, *, limit: int) -> list[str]:
        """Ids of up to ``limit`` images that have a thumbnail and no features of it."""
        with self._connections.reading() as database:
            return _lacking(database, fingerprint, limit)

    def thumbnail_usage(self, fingerprint: Fingerprint) -> ThumbnailUsage:
        """Number and bytes of the features with this fingerprint."""
        with self._connections.reading() as database:
            return _usage(database, fingerprint)


def encode(image_id: str, made: ThumbnailFeatures | None) -> Row | None:
    """Encode the features of the thumbnail of one image, if it has any."""
    if made is None:
        return None
    digest = made.fingerprint.digest
    raw = codec.encode(image_id, digest, made.features)
    data = _compressed(raw.data, zlib.Z_HUFFMAN_ONLY)
    keypoints = _compressed(raw.keypoints or b"", zlib.Z_DEFAULT_STRATEGY)
    return digest, len(data) + len(keypoints), raw.checksum, data, keypoints


def insert(database: sqlite3.Connection, image: int, row: Row | None) -> None:
    """Insert the features of the thumbnail of the image with this key, replacing earlier ones."""
    if row:
        database.execute(
            "INSERT OR REPLACE INTO thumbnail_features (image, method, bytes, checksum, data, keypoints)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (image, *row),
        )


def _insert_for(
    database: sqlite3.Connection, rows: Mapping[str, Row | None], thumbnails: Mapping[str, bytes]
) -> None:
    """Insert rows by image id, for the images that have these thumbnails."""
    for image_id, row in rows.items():
        found = database.execute(
            "SELECT key FROM images WHERE id = ? AND thumbnail = ?",
            (image_id, codec.thumbnail_checksum(image_id, thumbnails[image_id])),
        ).fetchone()
        if found:
            insert(database, found[0], row)


def _read(
    database: sqlite3.Connection, ids: Sequence[str], fingerprint: Fingerprint, spec: FeatureSpec
) -> dict[str, LocalFeatures]:
    """The features of the thumbnails of many images, by id; those that are missing or damaged are left out."""
    digest, found = fingerprint.digest, {}
    for some in chunks(ids):
        rows = database.execute(
            "SELECT id, data, keypoints, thumbnail_features.checksum"  # noqa: S608 - question marks
            " FROM images JOIN thumbnail_features ON image = key"
            f" WHERE method = ? AND id IN ({', '.join('?' * len(some))})",
            [digest, *some],
        )
        for image_id, *blobs in rows:
            features = _decode(image_id, digest, spec, blobs)
            if features is not None:
                found[image_id] = features
    return found


def _usage(database: sqlite3.Connection, fingerprint: Fingerprint) -> ThumbnailUsage:
    """Number and bytes of the stored features of thumbnails."""
    images, size = database.execute(
        "SELECT count(*), coalesce(sum(bytes), 0) FROM thumbnail_features WHERE method = ?", (fingerprint.digest,)
    ).fetchone()
    return ThumbnailUsage(images, size)


def _lacking(database: sqlite3.Connection, fingerprint: Fingerprint, limit: int) -> list[str]:
    """Ids of up to ``limit`` images with a thumbnail and without its features."""
    rows = database.execute(
        # The index, because the rows of the table are large.
        "SELECT id FROM images WHERE thumbnail IS NOT NULL AND NOT EXISTS (SELECT 1 FROM thumbnail_features"
        " INDEXED BY thumbnail_features_by_method WHERE method = ? AND image = key) ORDER BY key LIMIT ?",
        (fingerprint.digest, limit),
    )
    return [image_id for (image_id,) in rows]


def check(connections: Connections, *, repair: bool) -> list[Damage]:
    """Find rows with a wrong checksum, and drop them if ``repair``."""
    found = []
    for key, image_id, digest, checksum, data, keypoints in _pages(connections):
        if not _is_intact(image_id, digest, data, keypoints, checksum):
            if repair:
                with connections.writing() as database:
                    database.execute("DELETE FROM thumbnail_features WHERE image = ?", (key,))
            repaired = "dropped; they are computed where they are needed" if repair else ""
            found.append(Damage("features", _DAMAGED.format(image_id), str(image_id), repaired=repaired))
    return found


def _pages(connections: Connections) -> Iterator[Sequence[Any]]:
    last = 0
    while True:
        with connections.reading() as database:
            database.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
            try:
                rows = database.execute(
                    "SELECT image, id, method, thumbnail_features.checksum, data, keypoints"
                    " FROM thumbnail_features NOT INDEXED JOIN images ON key = image"
                    " WHERE image > ? ORDER BY image LIMIT ?",
                    (last, _ROWS),
                ).fetchall()
            finally:
                database.text_factory = str
        if not rows:
            return
        yield from rows
        last = rows[-1][0]


def _decode(image_id: str, digest: str, spec: FeatureSpec, blobs: Sequence[Any]) -> LocalFeatures | None:
    raw = _expanded(*blobs)
    if raw is None or not codec.is_intact(image_id, digest, spec, raw):
        return None
    features = codec.decode(digest, spec, [image_id], [raw])
    return features if isinstance(features, LocalFeatures) else None


def _is_intact(image_id: object, digest: object, data: object, keypoints: object, checksum: int) -> bool:
    raw = _expanded(data, keypoints, checksum)
    return (
        raw is not None
        and isinstance(image_id, str)
        and isinstance(digest, str)
        and codec.checksum(image_id, digest, raw.data, raw.keypoints) == checksum
    )


def _expanded(data: object, keypoints: object, checksum: int) -> codec.EncodedFeatures | None:
    """The uncompressed features; ``None`` if they are damaged."""
    if not (isinstance(data, bytes) and isinstance(keypoints, bytes)):  # in a damaged database
        return None
    try:
        plain = [zlib.decompressobj(-zlib.MAX_WBITS).decompress(one, _LARGEST) for one in (data, keypoints)]
    except zlib.error:
        return None
    return codec.EncodedFeatures(plain[0], plain[1], checksum)


def _compressed(data: bytes, strategy: int) -> bytes:
    encoder = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
    return encoder.compress(data) + encoder.flush()
