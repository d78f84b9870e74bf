"""Read and write the table of failures."""

from __future__ import annotations

import time
from collections.abc import Sequence

from imagefinder.core.records import Failure
from imagefinder.stores.distributed.image_rows import encoded
from imagefinder.stores.distributed.pool import Connection


def write_failures(connection: Connection, collection: int, failures: Sequence[Failure], *, copied: bool) -> None:
    """Insert failures, or count another attempt if the id has failed before; copied ones replace those."""
    attempts = "excluded.attempts" if copied else "failures.attempts + 1"
    now = time.time()
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO failures (collection, id, uri, code, message, attempts, at, source)"
            " VALUES (%s, %b, %b, %b, %b, %s, %s, %b) ON CONFLICT (collection, id) DO UPDATE SET"
            f" uri = excluded.uri, code = excluded.code, message = excluded.message, attempts = {attempts},"
            " at = excluded.at, source = excluded.source",
            [
                (
                    collection,
                    *(text.encode() for text in (one.id, one.uri, one.code, one.message)),
                    one.attempts if copied else 1,
                    one.at if copied else now,
                    one.source.encode(),
                )
                for one in sorted(failures, key=lambda one: one.id)  # the order of locks
            ],
        )


def read_failures(connection: Connection, collection: int, after: str, limit: int | None) -> list[Failure]:
    """Failures after the id ``after``, ordered by id; all of them if ``limit`` is ``None``."""
    most = None if limit is None else min(max(limit, 0), 2**31)
    rows = connection.execute(
        "SELECT id, uri, code, message, attempts, at, source FROM failures"
        " WHERE collection = %s AND id > %b ORDER BY id LIMIT %s",
        [collection, after.encode(), most],
        binary=True,
    )
    return [
        Failure(image_id.decode(), uri.decode(), code.decode(), message.decode(), attempts, at, source.decode())
        for image_id, uri, code, message, attempts, at, source in rows
    ]


def forget_failures(connection: Connection, collection: int, ids: Sequence[str]) -> None:
    """Delete the failures of these ids; unknown ones are ignored."""
    connection.execute("DELETE FROM failures WHERE collection = %s AND id = ANY(%b)", [collection, encoded(ids)])
