"""Sample images by their content; the table ``contents`` has the hashes of images without a SHA-256.

The SHA-256 of an image is a hash of its content with an index already. Only images that were imported as features
have none; a row of ``contents`` then keeps the CRC-32 of their features by one method.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from imagefinder.core.errors import MethodNotIndexedError
from imagefinder.stores import codec
from imagefinder.stores.embedded.method_rows import MethodRow, read_methods

# The first query walks along the index of hashes until it has found enough images, so it is slow if few images
# have features of the method. The second reads all images of the method.
_ALONG_THE_INDEX = """
    SELECT sha256, min(id) FROM images WHERE sha256 > ''
    AND EXISTS (SELECT 1 FROM features WHERE image = images.key AND method = :method)
    GROUP BY sha256 ORDER BY sha256 LIMIT :n
"""
_ALL_OF_THE_METHOD = """
    SELECT sha256, min(id) FROM features INDEXED BY features_by_method CROSS JOIN images ON images.key = image
    WHERE method = :method AND sha256 > '' GROUP BY sha256 ORDER BY sha256 LIMIT :n
"""
_WITHOUT_SHA256 = """
    SELECT hash, min(id) FROM contents CROSS JOIN features ON features.key = contents.key
    CROSS JOIN images ON images.key = image
    WHERE contents.method = :method GROUP BY hash ORDER BY hash LIMIT :n
"""


def read_sample(database: sqlite3.Connection, method: str, n: int) -> list[str]:
    """The ids of the ``n`` images with the smallest hashes, in the order of the hashes.

    Raises:
        MethodNotIndexedError: the method is not registered.
    """
    methods = read_methods(database)
    if method not in methods:
        raise MethodNotIndexedError(method, methods)
    row = methods[method]
    (images,) = database.execute("SELECT images FROM totals").fetchone() or (0,)
    few = row.images * row.images < n * images
    found: list[tuple[str, str]] = []
    for query in (_ALL_OF_THE_METHOD if few else _ALONG_THE_INDEX, _WITHOUT_SHA256):
        found += database.execute(query, {"method": row.key, "n": max(n, 0)}).fetchall()
    return [image_id for _, image_id in sorted(found)[: max(n, 0)]]


def insert_contents(
    database: sqlite3.Connection,
    image: int,
    image_id: str,
    encoded: Mapping[str, codec.EncodedFeatures],
    methods: Mapping[str, MethodRow],
) -> None:
    """Insert the hashes of these features of the image with this key, if it has no SHA-256."""
    for method, blobs in encoded.items():
        content = codec.content_checksum(image_id, method, blobs.nbytes, blobs.checksum)
        database.execute(
            "INSERT INTO contents (key, method, hash)"
            " SELECT features.key, method, ? FROM features JOIN images ON images.key = image"
            " WHERE image = ? AND method = ? AND sha256 = ''",
            (f"{content:08x}", image, methods[method].key),
        )
