"""Durable folders and files, and copies of databases."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from imagefinder.stores.embedded.connections import connect

_PAGES_AT_ONCE = 1024


def sync_folder(folder: Path) -> None:
    """Make the entries of a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents durably."""
    missing: list[Path] = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def disable_wal(database: sqlite3.Connection) -> None:
    """Copy the write-ahead log into the database and delete it; needs exclusive access.

    Raises:
        sqlite3.OperationalError: another connection has the database open.
    """
    database.execute("PRAGMA busy_timeout = 1000")
    database.execute("PRAGMA journal_mode = DELETE").fetchone()


def copy_database(
    database: sqlite3.Connection, target: Path, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> None:
    """Copy a consistent state of a database to a new file, durably.

    Args:
        database: The database; other connections may write to it meanwhile.
        target: A file that does not exist.
        progress: Called with (done, total) pages.
    """
    with closing(connect(target, create=True)) as copy:
        # Without this read transaction the copy would restart after each change by another connection.
        database.execute("BEGIN")
        try:
            database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            database.backup(
                copy, pages=_PAGES_AT_ONCE, progress=lambda _, left, total: progress(total - left, total)
            )
        finally:
            database.execute("ROLLBACK")
        disable_wal(copy)
    with target.open("rb") as file:
        os.fsync(file.fileno())
