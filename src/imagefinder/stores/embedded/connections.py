"""Connections to one database file: shared by threads, never by processes."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagefinder.core.errors import CollectionBusyError, CollectionCorruptError, StoreError

BUSY_SECONDS = 30.0
_IDLE_CONNECTIONS = 8
_CHECKPOINT_BYTES = 32 << 20
"""The write-ahead log is copied into the database whenever it has grown by so much ..."""
_LARGEST_LOG_BYTES = 4 * _CHECKPOINT_BYTES
"""... and when readers in the way let it grow to this, a writer waits for them a moment and empties it."""


class Connections:
    """Lends a connection for one transaction at a time.

    A pool rather than a connection per thread: the threads of a server come and go, and a dead one leaves
    nothing behind.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._log = file.with_name(file.name + "-wal")
        self._idle: deque[sqlite3.Connection] = deque()
        self._writing = threading.Lock()
        self._log_limit = _LARGEST_LOG_BYTES
        self._closed = False
        self._process = os.getpid()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent state of the database; keep it short, it holds up the emptying of the log."""
        self._check()
        with translated_errors(self._file), self._lent() as database:
            database.execute("BEGIN")
            try:
                yield database
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: durable when the block has ended, undone if it raised."""
        self._check()
        # The lock lets threads of this process queue; SQLite alone would have them poll.
        with translated_errors(self._file), self._writing, self._lent() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")
            self._bound_log(database)

    def close(self) -> None:
        """Close all; those that are lent, when they come back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _check(self) -> None:
        if self._closed:
            raise StoreError(f"the collection {self._file.parent} has been closed")
        if self._process != os.getpid():
            # SQLite's connections and locks do not survive a fork: the child opens its own.
            _INHERITED.extend(self._idle)
            self._idle = deque()
            self._writing = threading.Lock()
            self._process = os.getpid()

    @contextmanager
    def _lent(self) -> Iterator[sqlite3.Connection]:
        try:
            database = self._idle.pop()
        except IndexError:
            database = connect(self._file)
        try:
            yield database
        finally:
            if self._closed or len(self._idle) >= _IDLE_CONNECTIONS:
                database.close()
            else:
                self._idle.append(database)

    def _bound_log(self, database: sqlite3.Connection) -> None:
        try:
            size = self._log.stat().st_size
        except OSError:
            return
        if size < _LARGEST_LOG_BYTES:
            self._log_limit = _LARGEST_LOG_BYTES
        if size < self._log_limit:
            return
        database.execute("PRAGMA busy_timeout = 1000")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        database.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        # A reader that stays in the way is not waited for at every write.
        self._log_limit = size + _LARGEST_LOG_BYTES


_INHERITED: list[sqlite3.Connection] = []
"""Connections of a parent process; closing them here would pull its files from under it."""


def connect(file: Path, *, create: bool = False) -> sqlite3.Connection:
    """A connection with the properties all of ours have; transactions are begun by hand."""
    database = sqlite3.connect(
        f"{file.as_uri()}?mode={'rwc' if create else 'rw'}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("PRAGMA cache_size = -4000")
        # Overwriting what is deleted would cost as much as writing it: each freed page goes through the log.
        database.execute("PRAGMA secure_delete = FAST")
        database.execute(f"PRAGMA journal_size_limit = {_CHECKPOINT_BYTES}")
        (page_bytes,) = database.execute("PRAGMA page_size").fetchone()
        database.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_BYTES // page_bytes}")
    except BaseException:
        database.close()
        raise
    return database


class DamagedTextError(Exception):
    """A text in a table is not what is written there."""


_DAMAGED_HINT = "imagefinder check --repair saves what can be read; or restore it from a backup"


@contextmanager
def translated_errors(file: Path) -> Iterator[None]:
    """SQLite's errors as ours, and what damaged text and JSON in its tables raise."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(error, file) from error
    # SQLite itself quotes what it cannot read, so even its errors may be no text.
    except (DamagedTextError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CollectionCorruptError(f"the database {file} is damaged: {error}", hint=_DAMAGED_HINT) from error


def _translated(error: sqlite3.Error, file: Path) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # Python says of text that is none only this; a schema that cannot be read is a plain SQLITE_ERROR.
    broken = str(error).startswith(
        ("Could not decode to UTF-8", "malformed database schema", "no such table: main.")
    )
    if broken or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return CollectionCorruptError(f"the database {file} is damaged: {error}", hint=_DAMAGED_HINT)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
        return CollectionBusyError(
            f"another process kept the collection {file.parent} locked for more than {BUSY_SECONDS:.0f} s",
            hint="try again when it has finished",
        )
    if code == sqlite3.SQLITE_FULL:
        return StoreError(f"no space is left for the collection {file.parent}", hint="free some and try again")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR):
        return StoreError(
            f"the collection {file.parent} cannot be read and written: {error}",
            hint="it needs a local disk, and the permission to write even for searching",
        )
    return StoreError(f"the collection {file.parent} cannot be used: {error}")
