"""Read and write the table of removals: images that must not return with the next ``add``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from imagefinder.core.records import ImageRecord, Removal
from imagefinder.stores.distributed.image_rows import encoded
from imagefinder.stores.distributed.pool import Connection

_REPLACING = (
    " ON CONFLICT (collection, id, uri_hash)"
    " DO UPDATE SET sha256 = excluded.sha256, source = excluded.source, at = excluded.at"
)


def remember(connection: Connection, collection: int, ids: Sequence[str]) -> None:
    """Record the removal of the images with these ids that have a URI; before they are deleted."""
    connection.execute(
        "INSERT INTO removals (collection, id, uri, sha256, source, at)"
        " SELECT collection, id, uri, sha256, source, %s FROM images"
        f" WHERE collection = %s AND id = ANY(%b) AND uri <> ''{_REPLACING}",
        [time.time(), collection, encoded(ids)],
    )


def insert_removals(connection: Connection, collection: int, removals: Sequence[Removal]) -> None:
    """Insert removals, replacing those of the same id and URI."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO removals (collection, id, uri, sha256, source, at)"
            f" VALUES (%s, %b, %b, %b, %b, %s){_REPLACING}",
            [
                (collection, *(text.encode() for text in (one.id, one.uri, one.sha256, one.source)), one.at)
                for one in removals
            ],
        )


def read_removals(
    connection: Connection,
    collection: int,
    after: str,
    limit: int | None,
    *,
    ids: Sequence[str] | None,
    sha256: str | None,
) -> list[Removal]:
    """Removals after the id ``after``, ordered by id and URI (``StoreLookups.removals``)."""
    if ids is not None:
        return _select(connection, collection, "id = ANY(%b)", [encoded(ids)], None)
    if sha256 is not None:
        return _select(connection, collection, "sha256 = %b", [sha256.encode()], None)
    found = _select(connection, collection, "id > %b", [after.encode()], limit)
    if limit is not None and found and len(found) == limit:
        last = found[-1]
        found += _select(
            connection, collection, "id = %b AND uri > %b", [last.id.encode(), last.uri.encode()], None
        )
    return found


def clear_removals(connection: Connection, collection: int, images: Sequence[ImageRecord]) -> None:
    """Delete the removals of images that are put: those of the same URI, or all of an image without a source."""
    connection.execute(
        "DELETE FROM removals USING unnest(%b::bytea[], %b::bytea[], %s::boolean[]) AS put (id, uri, every)"
        " WHERE collection = %s AND removals.id = put.id AND (removals.uri = put.uri OR every)",
        [
            encoded([image.id for image in images]),
            encoded([image.uri for image in images]),
            [not image.source for image in images],
            collection,
        ],
    )


def move_removal(connection: Connection, collection: int, removal: Removal, moved: Removal) -> None:
    """Replace a removal by that of the new id and URI of its file; an unknown one is ignored."""
    where = [collection, removal.id.encode(), removal.uri.encode()]
    deleted = connection.execute("DELETE FROM removals WHERE collection = %s AND id = %b AND uri = %b", where)
    if deleted.rowcount:
        insert_removals(connection, collection, [moved])


def forget_removals(connection: Connection, collection: int, ids: Sequence[str]) -> int:
    """Delete the removals of these ids; returns how many there were."""
    return connection.execute(
        "DELETE FROM removals WHERE collection = %s AND id = ANY(%b)", [collection, encoded(ids)]
    ).rowcount


def _select(
    connection: Connection, collection: int, condition: str, values: Sequence[Any], limit: int | None
) -> list[Removal]:
    most = None if limit is None else min(max(limit, 0), 2**31)
    rows = connection.execute(
        f"SELECT id, uri, sha256, source, at FROM removals WHERE collection = %s AND {condition}"
        " ORDER BY id, uri LIMIT %s",
        [collection, *values, most],
        binary=True,
    )
    return [
        Removal(image_id.decode(), uri.decode(), sha256.decode(), source.decode(), at)
        for image_id, uri, sha256, source, at in rows
    ]
