"""Read and write the table of features of thumbnails, which are derived from the thumbnails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imagefinder.core.errors import CollectionCorruptError
from imagefinder.core.features import FeatureSpec, LocalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import ThumbnailFeatures, ThumbnailUsage
from imagefinder.stores import codec, validation
from imagefinder.stores.distributed.codec import FrameDecoder, compress
from imagefinder.stores.distributed.image_rows import encoded
from imagefinder.stores.distributed.payloads import Payloads, StoredBytes
from imagefinder.stores.distributed.pool import Connection, Database
from imagefinder.stores.distributed.sweep import Claim

KIND = "thumbnail-features"
"""Kind of the bytes of these rows, for ``Payloads.store``."""


@dataclass(frozen=True, slots=True)
class NewThumbnailFeatures:
    """Features of the thumbnail of one image that are ready to be inserted.

    Attributes:
        method: Digest of their fingerprint.
        spec: Kind, dimension and dtype of the features.
        size: Bytes of the compressed features.
        checksum: ``codec.checksum`` of the plain features.
        stored: The compressed features.
    """

    method: str
    spec: FeatureSpec
    size: int
    checksum: int
    stored: StoredBytes


def prepare(
    made: Sequence[tuple[str, ThumbnailFeatures | None]], payloads: Payloads
) -> list[NewThumbnailFeatures | None]:
    """Encode, compress and store features of thumbnails by image id; ``None`` where there are none."""
    parts = []
    for image_id, one in made:
        if one is not None:
            digest = one.fingerprint.digest
            plain = codec.encode(image_id, digest, one.features)
            parts.append((digest, one.features.spec(), plain.checksum, compress(image_id, digest, plain)))
    stored = iter(payloads.store(KIND, [frame for *_, frame in parts]))
    ready = iter(parts)
    found: list[NewThumbnailFeatures | None] = []
    for _, one in made:
        if one is None:
            found.append(None)
        else:
            digest, spec, checksum, frame = next(ready)
            found.append(NewThumbnailFeatures(digest, spec, len(frame), checksum, next(stored)))
    return found


def insert(
    connection: Connection, collection: int, images: Sequence[int], new: Sequence[NewThumbnailFeatures | None]
) -> None:
    """Insert the features of the thumbnails of images with these keys, replacing earlier ones."""
    rows = [
        (
            *(image, one.method, one.spec.dim, one.spec.dtype, one.size, one.checksum),
            *(one.stored.object, one.stored.data),
        )
        for image, one in zip(images, new, strict=True)
        if one is not None
    ]
    if rows:
        connection.execute(
            "INSERT INTO thumbnail_features (collection, image, method, dim, dtype, bytes, checksum, object, data)"
            " SELECT %s, * FROM unnest(%b::bigint[], %b::text[], %b::integer[], %b::text[], %b::bigint[],"
            " %b::bigint[], %b::text[], %b::bytea[])"
            " ON CONFLICT (collection, image) DO UPDATE SET method = excluded.method, dim = excluded.dim,"
            " dtype = excluded.dtype, bytes = excluded.bytes,"
            " checksum = excluded.checksum, object = excluded.object, data = excluded.data",
            [collection, *map(list, zip(*rows, strict=True))],
        )


class ThumbnailTable:
    """The part of the store that reads and completes the features of thumbnails (``StoreThumbnails``)."""

    _database: Database
    _collection: int
    _payloads: Payloads

    def thumbnail_features(
        self, ids: Sequence[str], fingerprint: Fingerprint, spec: FeatureSpec
    ) -> dict[str, LocalFeatures]:
        """The features of the thumbnails of the images that have intact ones, by id."""
        valid, digest = validation.valid_ids(ids), fingerprint.digest
        if not valid:
            return {}
        rows = self._database.read(
            lambda connection: connection.execute(
                "SELECT id, thumbnail_features.checksum, thumbnail_features.object, data FROM images"
                " JOIN thumbnail_features ON thumbnail_features.collection = images.collection AND image = key"
                " WHERE images.collection = %s AND id = ANY(%b) AND method = %s",
                [self._collection, encoded(valid), digest],
                binary=True,
            ).fetchall()
        )
        found = {}
        frames = self._payloads.load([StoredBytes(name, data) for *_, name, data in rows])
        for (raw_id, checksum, *_), frame in zip(rows, frames, strict=True):
            features = _decoded(raw_id.decode(), digest, spec, frame, checksum)
            if features is not None:
                found[raw_id.decode()] = features
        return found

    def put_thumbnail_features(
        self, made: Mapping[str, ThumbnailFeatures], thumbnails: Mapping[str, bytes]
    ) -> None:
        """Store features of the thumbnails of images that still have these thumbnails."""
        valid = validation.valid_ids(list(made))
        for image_id in valid:
            validation.check_one_image(image_id, {"thumbnail": made[image_id].features})
        if not valid:
            return
        new = dict(zip(valid, prepare([(i, made[i]) for i in valid], self._payloads), strict=True))
        checksums = [codec.thumbnail_checksum(i, thumbnails[i]) for i in valid]

        def work(connection: Connection) -> None:
            claim = Claim(connection, self._collection, [one.stored for one in new.values() if one is not None])
            rows = connection.execute(
                "SELECT images.id, key FROM images JOIN unnest(%b::bytea[], %s::bigint[]) AS made (id, thumbnail)"
                " ON made.id = images.id AND made.thumbnail = images.thumbnail"
                " WHERE collection = %s ORDER BY images.id FOR UPDATE OF images",
                [encoded(valid), checksums, self._collection],
                binary=True,
            ).fetchall()
            claim.confirm()
            insert(connection, self._collection, [key for _, key in rows], [new[i.decode()] for i, _ in rows])

        self._database.write(work)

    def lacking_thumbnail_features(self, fingerprint: Fingerprint, *, limit: int) -> list[str]:
        """Ids of up to ``limit`` images that have a thumbnail and no features of it."""
        rows = self._database.read(
            lambda connection: connection.execute(
                "SELECT id FROM images WHERE collection = %s AND thumbnail IS NOT NULL AND NOT EXISTS"
                " (SELECT 1 FROM thumbnail_features WHERE thumbnail_features.collection = images.collection"
                " AND image = key AND method = %s) ORDER BY key LIMIT %s",
                [self._collection, fingerprint.digest, max(limit, 0)],
                binary=True,
            ).fetchall()
        )
        return [image_id.decode() for (image_id,) in rows]

    def thumbnail_usage(self, fingerprint: Fingerprint) -> ThumbnailUsage:
        """Number and bytes of the features with this fingerprint."""
        row = self._database.read(
            lambda connection: connection.execute(
                "SELECT count(*), coalesce(sum(bytes), 0)::bigint FROM thumbnail_features"
                " WHERE collection = %s AND method = %s",
                [self._collection, fingerprint.digest],
            ).fetchone()
        )
        images, size = row or (0, 0)
        return ThumbnailUsage(images, size)


def _decoded(
    image_id: str, digest: str, spec: FeatureSpec, frame: bytes | None, checksum: int
) -> LocalFeatures | None:
    decoder = FrameDecoder(digest, spec)
    try:
        decoder.add(image_id, frame or b"", checksum)
    except CollectionCorruptError:
        return None
    features = decoder.features()
    return features if isinstance(features, LocalFeatures) else None
