"""Digests of stored images: equal in stores of all kinds exactly if the content is equal.

A digest is made of checksums that a store keeps anyway, so comparing two collections reads no features. Those
checksums are CRC-32 of the plain bytes (``codec``): features are little-endian, row by row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from imagefinder.core.records import Entry, ImageRecord
from imagefinder.stores import codec


def image_digest(record: ImageRecord, thumbnail: int | None, features: Mapping[str, int]) -> str:
    """The digest of one image: 32 hexadecimal digits.

    Args:
        record: The record.
        thumbnail: ``codec.thumbnail_checksum``; ``None`` if there is no thumbnail.
        features: Method name -> ``codec.checksum`` of the features.
    """
    content: list[object] = [
        *(record.id, record.uri, record.sha256, record.size_bytes, record.width, record.height, record.format),
        *(record.source, record.stamp, record.metadata, record.added_at),
        thumbnail,
        features,
    ]
    if (found := record.file_metadata).stamp:  # an image without any has the same digest as in earlier versions
        content.append([found.properties, found.stamp, found.stack, found.burst])
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()


def entry_digest(entry: Entry) -> str:
    """The digest of an image whose checksums are not stored."""
    image_id = entry.image.id
    thumbnail = codec.thumbnail_checksum(image_id, entry.thumbnail) if entry.thumbnail else None
    features = {method: codec.encode(image_id, method, batch).checksum for method, batch in entry.features.items()}
    return image_digest(entry.image, thumbnail, features)
