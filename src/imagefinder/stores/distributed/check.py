"""Check the contents of a collection, and repair it by dropping damaged rows.

PostgreSQL checks its own pages and indexes (checksums, ``pg_amcheck``); the checksums of records, thumbnails and
features also detect rows that belong to others, and objects that are missing or damaged. Rows are read in short
transactions, so that other processes can go on writing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from imagefinder.core.errors import CollectionCorruptError
from imagefinder.core.features import FeatureSpec
from imagefinder.core.records import Damage
from imagefinder.stores import codec
from imagefinder.stores.distributed import image_rows, kept_rows, method_rows
from imagefinder.stores.distributed.codec import is_intact_frame
from imagefinder.stores.distributed.feature_rows import delete_features
from imagefinder.stores.distributed.file_metadata_rows import forget
from imagefinder.stores.distributed.payloads import Payloads, StoredBytes
from imagefinder.stores.distributed.pool import Connection, Database
from imagefinder.stores.distributed.writing import delete_images

_ROWS = 64
_RECOMPUTED = "the next add of the source extracts them again"

_IMAGES = (
    f"SELECT key, {image_rows.RECORD}, object, jpeg FROM images"
    " WHERE collection = %s AND key > %s AND key <= %s ORDER BY key LIMIT %s"
)
_FEATURES = (
    "SELECT features.key, method, image, id, bytes, features.checksum, features.object, data FROM features"
    " JOIN images ON images.collection = features.collection AND images.key = image"
    " JOIN methods ON methods.key = method"
    " WHERE features.collection = %s AND features.key > %s AND features.key <= %s ORDER BY features.key LIMIT %s"
)
_THUMBNAIL_FEATURES = (
    "SELECT image, method, dim, dtype, id, thumbnail_features.checksum, thumbnail_features.object, data"
    " FROM thumbnail_features"
    " JOIN images ON images.collection = thumbnail_features.collection AND images.key = image"
    " WHERE thumbnail_features.collection = %s AND image > %s AND image <= %s ORDER BY image LIMIT %s"
)
_WRONG_COUNTS = """
    WITH counted AS (
        SELECT method, sum(images)::bigint AS images, sum(bytes)::bigint AS bytes FROM counts
        WHERE collection = %(collection)s GROUP BY method
    ), actual AS (
        SELECT 0 AS method, count(*) AS images, 0::bigint AS bytes FROM images WHERE collection = %(collection)s
        UNION ALL
        SELECT method, count(*), sum(bytes)::bigint FROM features WHERE collection = %(collection)s GROUP BY method
    ), both_counts AS (
        SELECT method, coalesce(counted.images, 0), coalesce(counted.bytes, 0),
            coalesce(actual.images, 0), coalesce(actual.bytes, 0)
        FROM counted FULL JOIN actual USING (method)
    )
    SELECT * FROM both_counts AS found (method, images, bytes, true_images, true_bytes)
    WHERE (images, bytes) <> (true_images, true_bytes) ORDER BY method
"""
_ORPHANS = {
    "features": "NOT EXISTS (SELECT 1 FROM images WHERE images.collection = features.collection"
    " AND images.key = image) OR NOT EXISTS (SELECT 1 FROM methods WHERE methods.key = method)",
    "thumbnail_features": "NOT EXISTS (SELECT 1 FROM images"
    " WHERE images.collection = thumbnail_features.collection AND images.key = image)",
    "kept": "NOT EXISTS (SELECT 1 FROM images WHERE images.collection = kept.collection AND images.key = image)",
    "listing": "NOT EXISTS (SELECT 1 FROM images WHERE images.collection = listing.collection"
    " AND images.key = image)",
}


class Check:
    """A check of one collection."""

    def __init__(self, database: Database, collection: int, payloads: Payloads, *, repair: bool) -> None:
        """Prepare a check; with ``repair``, damaged rows are dropped."""
        self._database = database
        self._collection = collection
        self._payloads = payloads
        self._repair = repair

    def contents(
        self, sound_thumbnail: Callable[[bytes], bool], progress: Callable[[int, int], None]
    ) -> list[Damage]:
        """Check the contents of all rows and their consistency.

        Args:
            sound_thumbnail: Whether a thumbnail is a valid image.
            progress: Called with (done, total) rows.
        """
        # Rows written from now on are not checked: a busy writer would keep the check running forever.
        last = self._database.read(_last_key)
        counts = self._database.read(self._counts)
        methods = self._database.read(lambda connection: method_rows.read_methods(connection, self._collection))
        names = {row.key: (name, row.spec) for name, row in methods.items()}
        total, done = sum(images for images, _ in counts.values()), 0
        found: list[Damage] = []
        for rows in self._pages(_IMAGES, last):
            found += self._images(rows, sound_thumbnail)
            done += len(rows)
            progress(min(done, total), total)
        for rows in self._pages(_FEATURES, last):
            found += self._features(rows, names)
            done += len(rows)
            progress(min(done, total), total)
        for rows in self._pages(_THUMBNAIL_FEATURES, last):
            found += self._thumbnail_features(rows)
        found += kept_rows.check(self._database, self._collection, self._payloads, repair=self._repair)
        return found + self._orphans() + self._check_counts({row.key: name for name, row in methods.items()})

    def _pages(self, query: str, end: int) -> Iterator[list[Any]]:
        last = 0
        while True:
            rows = self._database.read(
                lambda connection: connection.execute(
                    query,
                    [self._collection, last, end, _ROWS],  # noqa: B023 - called here
                    binary=True,
                ).fetchall()
            )
            if not rows:
                return
            yield rows
            last = rows[-1][0]

    def _images(self, rows: Sequence[Any], sound_thumbnail: Callable[[bytes], bool]) -> list[Damage]:
        found = []
        thumbnails = self._loaded([StoredBytes(*row[-2:]) for row in rows])
        for (_, *record, _, _), jpeg in zip(rows, thumbnails, strict=True):
            raw_id, values = record[0], image_rows.decoded(record)
            try:
                image_rows.own_record_of(record)
            except CollectionCorruptError:
                message = f"the record of image {values[0]!r} is damaged"
                found.append(
                    self._dropped(
                        Damage("record", message, values[0], repaired="the image was dropped; add it again"),
                        lambda connection: self._drop_image(connection, raw_id),  # noqa: B023 - called here
                    )
                )
                continue
            found += self._file_metadata(record)
            is_intact = codec.is_intact_thumbnail(values[0], values[11], jpeg)
            if not is_intact or (jpeg is not None and not sound_thumbnail(jpeg)):
                message = f"the thumbnail of image {values[0]!r} is damaged"
                repaired = "dropped; for a new one: imagefinder remove --forget, then add the image again"
                found.append(
                    self._dropped(
                        Damage("thumbnail", message, values[0], repaired=repaired),
                        lambda connection: self._drop_thumbnail(connection, values),  # noqa: B023 - called here
                    )
                )
        return found

    def _file_metadata(self, row: Sequence[Any]) -> list[Damage]:
        try:
            image_rows.file_metadata_of(row)
        except CollectionCorruptError as error:
            image_id = row[0].decode("utf-8", "replace")
            repaired = "dropped; the next add of the source reads them again"
            return [
                self._dropped(
                    Damage("record", error.message, image_id, repaired=repaired),
                    lambda connection: forget(connection, self._collection, row[0]),
                )
            ]
        return []

    def _features(self, rows: Sequence[Any], names: dict[int, tuple[str, FeatureSpec]]) -> list[Damage]:
        found = []
        frames = self._loaded([StoredBytes(*row[-2:]) for row in rows])
        for (_, method, image, raw_id, _, checksum, *_), frame in zip(rows, frames, strict=True):
            if method not in names:
                continue  # registered meanwhile
            name, spec = names[method]
            image_id = raw_id.decode("utf-8", "replace")
            if frame is None or not is_intact_frame(image_id, name, spec, frame, checksum):
                found.append(
                    self._dropped(
                        Damage(
                            "features",
                            f"the {name} features of image {image_id!r} are damaged",
                            image_id,
                            name,
                            repaired=f"dropped; {_RECOMPUTED}",
                        ),
                        lambda connection: delete_features(connection, self._collection, image, [method]),  # noqa: B023
                    )
                )
        return found

    def _thumbnail_features(self, rows: Sequence[Any]) -> list[Damage]:
        found = []
        frames = self._loaded([StoredBytes(*row[-2:]) for row in rows])
        for (image, digest, dim, dtype, raw_id, checksum, *_), frame in zip(rows, frames, strict=True):
            image_id = raw_id.decode("utf-8", "replace")
            spec = FeatureSpec("local", dim, dtype)
            if frame is None or not is_intact_frame(image_id, digest, spec, frame, checksum):
                found.append(
                    self._dropped(
                        Damage(
                            "features",
                            f"the features of the thumbnail of image {image_id!r} are damaged",
                            image_id,
                            repaired="dropped; they are computed where they are needed",
                        ),
                        lambda connection: connection.execute(
                            "DELETE FROM thumbnail_features WHERE collection = %s AND image = %s",
                            [self._collection, image],  # noqa: B023 - called here
                        ),
                    )
                )
        return found

    def _dropped(self, damage: Damage, drop: Callable[[Connection], object]) -> Damage:
        if not self._repair:
            return replace(damage, repaired="")
        self._database.write(drop)
        return damage

    def _drop_image(self, connection: Connection, raw_id: bytes) -> None:
        delete_images(connection, self._collection, [raw_id.decode("utf-8", "surrogateescape")])

    def _drop_thumbnail(self, connection: Connection, values: list[Any]) -> None:
        """Delete the thumbnail of an image with its features, and update the checksum of its record."""
        row = connection.execute(
            "UPDATE images SET thumbnail = NULL, object = NULL, jpeg = NULL, checksum = %s"
            " WHERE collection = %s AND id = %b AND checksum = %s RETURNING key",
            [
                codec.record_checksum([*values[:11], None]),
                self._collection,
                values[0].encode(),
                values[12],
            ],
        ).fetchone()
        if row:
            connection.execute(
                "DELETE FROM thumbnail_features WHERE collection = %s AND image = %s", [self._collection, row[0]]
            )

    def _loaded(self, stored: Sequence[StoredBytes]) -> list[bytes | None]:
        """The bytes of rows, without a cache; ``None`` for objects that are missing."""
        return self._payloads.load(stored, fresh=True)

    def _orphans(self) -> list[Damage]:
        """Find rows that refer to a missing image or method."""
        counts = {table: self._database.read(self._count_orphans(table)) for table in _ORPHANS}
        tables = [table for table, count in counts.items() if count]
        if not tables:
            return []
        if self._repair:
            for table in tables:
                self._database.write(
                    lambda connection: connection.execute(
                        f"DELETE FROM {table} WHERE collection = %s AND ({_ORPHANS[table]})",  # noqa: B023
                        [self._collection],
                    )
                )
        return [
            Damage(
                "orphan",
                f"{sum(counts.values())} rows of {' and '.join(tables)} refer to missing images or methods",
                repaired="dropped" if self._repair else "",
            )
        ]

    def _count_orphans(self, table: str) -> Callable[[Connection], int]:
        def work(connection: Connection) -> int:
            (count,) = connection.execute(
                f"SELECT count(*) FROM {table} WHERE collection = %s AND ({_ORPHANS[table]})",
                [self._collection],
            ).fetchone() or (0,)
            return int(count)

        return work

    def _counts(self, connection: Connection) -> dict[int, tuple[int, int]]:
        return method_rows.read_counts(connection, self._collection)

    def _check_counts(self, names: dict[int, str]) -> list[Damage]:
        """Compare the counts with the rows; both are read, and corrected, in one transaction."""

        def work(connection: Connection) -> list[tuple[int, int, int, int, int]]:
            rows = connection.execute(_WRONG_COUNTS, {"collection": self._collection}).fetchall()
            if rows and self._repair:
                method_rows.add_counts(
                    connection, self._collection, [(key, n - m, b - a) for key, m, a, n, b in rows]
                )
            return rows

        found = self._database.write(work) if self._repair else self._database.read(work)
        damages = []
        for key, images, size, true_images, true_size in found:
            if key == method_rows.IMAGES:
                text = f"the image count is {images} instead of {true_images}"
            else:
                text = (
                    f"the counts of {names.get(key, 'a removed method')} are {images} images ({size} bytes) "
                    f"instead of {true_images} ({true_size} bytes)"
                )
            repaired = "corrected" if self._repair else ""
            damages.append(Damage("counts", text, method=names.get(key, ""), repaired=repaired))
        return damages


def _last_key(connection: Connection) -> int:
    (last,) = connection.execute("SELECT last_value FROM keys").fetchone() or (0,)
    return int(last)
