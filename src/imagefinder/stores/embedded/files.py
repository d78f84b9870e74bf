"""Files and folders that are still there after a power loss, and databases of one file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from imagefinder.stores.embedded.connections import connect

_PAGES_AT_ONCE = 1024


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, that is still there after a power loss."""
    missing: list[Path] = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def leave_log(database: sqlite3.Connection) -> None:
    """Empty the write-ahead log into the database and go without: needs it for itself.

    Raises:
        sqlite3.OperationalError: somebody else has it open.
    """
    database.execute("PRAGMA busy_timeout = 1000")
    database.execute("PRAGMA journal_mode = DELETE").fetchone()


def copy_database(
    database: sqlite3.Connection, target: Path, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> None:
    """One consistent state of a database as a file of its own, durable on return.

    Args:
        database: Others may go on writing to it.
        target: A file that is not there yet.
        progress: Called with (done, total) pages.
    """
    with closing(connect(target, create=True)) as copy:
        # The transaction holds the state: without it the copy would begin anew with each change of others.
        database.execute("BEGIN")
        try:
            database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            database.backup(
                copy, pages=_PAGES_AT_ONCE, progress=lambda _, left, total: progress(total - left, total)
            )
        finally:
            database.execute("ROLLBACK")
        leave_log(copy)
    with target.open("rb") as file:
        os.fsync(file.fileno())
