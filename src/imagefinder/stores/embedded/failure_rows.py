"""Read and write the table of failures."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import astuple

from imagefinder.core.records import Failure


def copy_failures(database: sqlite3.Connection, failures: Sequence[Failure]) -> None:
    """Insert failures of another store, replacing those with the same ids."""
    database.executemany(
        "INSERT OR REPLACE INTO failures (id, uri, code, message, attempts, at, source)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [astuple(failure) for failure in failures],
    )


def write_failures(database: sqlite3.Connection, failures: Sequence[Failure]) -> None:
    """Insert failures, or count another attempt if the id has failed before."""
    database.executemany(
        "INSERT INTO failures (id, uri, code, message, attempts, at, source)"
        " VALUES (?, ?, ?, ?, 1, ?, ?) ON CONFLICT (id) DO UPDATE SET uri = excluded.uri,"
        " code = excluded.code, message = excluded.message, attempts = attempts + 1,"
        " at = excluded.at, source = excluded.source",
        [
            (failure.id, failure.uri, failure.code, failure.message, time.time(), failure.source)
            for failure in failures
        ],
    )


def read_failures(database: sqlite3.Connection, after: str, limit: int | None) -> list[Failure]:
    """Failures after the id ``after``, ordered by id; all of them if ``limit`` is ``None``."""
    most = -1 if limit is None else min(max(limit, 0), 2**31)
    rows = database.execute(
        "SELECT id, uri, code, message, attempts, at, source FROM failures WHERE id > ? ORDER BY id LIMIT ?",
        (after, most),
    )
    return [Failure(*row) for row in rows]
