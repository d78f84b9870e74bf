"""Digests of stored images, from the checksums in the tables of images and features."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from imagefinder.stores.digests import image_digest
from imagefinder.stores.embedded.feature_rows import chunks
from imagefinder.stores.embedded.image_rows import read_records
from imagefinder.stores.embedded.method_rows import read_methods


def read_digests(database: sqlite3.Connection, ids: Sequence[str]) -> dict[str, str]:
    """The digests of the images that exist, by id.

    Raises:
        CollectionCorruptError: the checksum of a record is wrong.
    """
    names = {method.key: name for name, method in read_methods(database).items()}
    records = read_records(database, ids)
    thumbnails: dict[str, int | None] = {}
    features: dict[str, dict[str, int]] = {image_id: {} for image_id in records}
    for some in chunks(list(records)):
        query = (
            "SELECT id, thumbnail, features.method, features.checksum FROM images"  # noqa: S608 - question marks
            " LEFT JOIN features ON features.image = images.key"
            f" WHERE id IN ({', '.join('?' * len(some))})"
        )
        for image_id, thumbnail, method, checksum in database.execute(query, some):
            thumbnails[image_id] = thumbnail
            if method is not None:
                features[image_id][names[method]] = checksum
    return {
        image_id: image_digest(record, thumbnails[image_id], features[image_id])
        for image_id, record in records.items()
    }
