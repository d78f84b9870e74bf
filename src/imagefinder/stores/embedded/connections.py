"""Connection pool of a database file, shared by threads but not by processes."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagefinder.core.errors import (
    CollectionBusyError,
    CollectionClosedError,
    CollectionCorruptError,
    CollectionMovedError,
    StoreError,
)
from imagefinder.stores.embedded.identity import Identity, identity_of

BUSY_SECONDS = 30.0
_IDLE_CONNECTIONS = 8
_CHECKPOINT_BYTES = 32 << 20
"""The write-ahead log is checkpointed whenever it has grown by this much."""
_MAX_LOG_BYTES = 4 * _CHECKPOINT_BYTES
"""If readers block checkpoints and the log grows to this, a writer waits for them briefly and truncates it."""
_PURGE_SECONDS = 1.0
"""Time between two attempts of readers to remove deleted data from the log."""


class Connections:
    """A pool that provides a connection for one transaction at a time.

    It is not bound to threads: the threads of a server end at any time and must not leave connections behind.

    Every transaction checks that the open files are still the ones in the folder: on Linux and macOS a file stays
    usable after it has been deleted or moved, so changes would be acknowledged and never seen again.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._identity = identity_of(file)
        self._log = file.with_name(file.name + "-wal")
        self._unpurged = False
        self._next_purge = 0.0
        self._idle: deque[_Connection] = deque()
        self._writing = threading.Lock()
        self._log_limit = _MAX_LOG_BYTES
        self._closed = False
        self._process = os.getpid()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A read transaction; keep it short, because it blocks checkpoints of the log.

        Raises:
            CollectionMovedError: the files were moved, deleted or replaced.
        """
        self._check()
        with translated_errors(self._file), self._borrow() as database:
            database.execute("BEGIN")
            try:
                yield database
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")
            if self._unpurged and time.monotonic() > self._next_purge and self._writing.acquire(blocking=False):
                try:
                    self._purge(database)
                finally:
                    self._writing.release()

    @contextmanager
    def writing(self, *, purge: bool = False) -> Iterator[sqlite3.Connection]:
        """A write transaction: durable after the block, rolled back if it raises.

        Args:
            purge: Whether the transaction deletes data that must not stay in the log.

        Raises:
            CollectionMovedError: the files were moved, deleted or replaced; the transaction is not acknowledged.
        """
        self._check()
        # Threads of this process wait on a lock; SQLite alone would poll.
        with translated_errors(self._file), self._writing, self._borrow() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")
            self.check_place(database)
            self._unpurged |= purge
            if self._unpurged:
                self._purge(database)
            self._bound_log(database)

    def is_in_place(self) -> bool:
        """Whether the database in the folder is still the one that was opened."""
        return identity_of(self._file) == self._identity

    def check_place(self, database: _Connection | None = None) -> None:
        """Check that the open files are still those in the folder.

        Args:
            database: A connection, to check its log as well.

        Raises:
            CollectionMovedError: they were moved, deleted or replaced.
        """
        now = identity_of(self._file)
        if now == self._identity and database is not None and database.log is not None:
            if identity_of(self._log) == database.log:
                return
            raise CollectionMovedError(
                f"{self._log} was deleted or replaced while the collection was open",
                hint="stop all programs that use the collection, then check it: imagefinder check",
            )
        if now != self._identity:
            folder = self._file.parent
            raise CollectionMovedError(
                f"the collection {folder} was replaced by another one while it was open"
                if now
                else f"the collection {folder} was moved or deleted while it was open, or its disk was unmounted",
                hint="open it again" if now else f"bring it back to {folder}, or open it at its new place",
            )

    def close(self) -> None:
        """Close idle connections now, and others after their transaction."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _check(self) -> None:
        if self._closed:
            raise CollectionClosedError(f"the collection {self._file.parent} has been closed")
        self.check_place()
        if self._process != os.getpid():
            # SQLite connections and locks must not be used after a fork: the child opens its own.
            _INHERITED.extend(self._idle)
            self._idle = deque()
            self._writing = threading.Lock()
            self._process = os.getpid()

    @contextmanager
    def _borrow(self) -> Iterator[_Connection]:
        try:
            database = self._idle.pop()
        except IndexError:
            database = connect(self._file)
        try:
            self.check_place(database)
            yield database
            if database.log is None:
                database.log = identity_of(self._log)
        finally:
            if self._closed or len(self._idle) >= _IDLE_CONNECTIONS:
                database.close()
            else:
                self._idle.append(database)

    def _purge(self, database: sqlite3.Connection) -> None:
        """Copy the log into the database and truncate it, unless a reader is active; then the next call does."""
        database.execute("PRAGMA busy_timeout = 0")
        try:
            (busy, _, _) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._unpurged = bool(busy)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
        finally:
            database.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        self._next_purge = time.monotonic() + _PURGE_SECONDS

    def _bound_log(self, database: sqlite3.Connection) -> None:
        try:
            size = self._log.stat().st_size
        except OSError:
            return
        if size < _MAX_LOG_BYTES:
            self._log_limit = _MAX_LOG_BYTES
        if size < self._log_limit:
            return
        database.execute("PRAGMA busy_timeout = 1000")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        database.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        # Do not wait for a long-running reader at every write.
        self._log_limit = size + _MAX_LOG_BYTES


_INHERITED: list[_Connection] = []
"""Connections inherited from the parent process; closing them here would break its file locks."""


class _Connection(sqlite3.Connection):
    """Closes itself when it is collected; Python 3.13 warns of connections that are collected while open.

    Attributes:
        log: The write-ahead log that this connection has open; ``None`` before its first transaction.
    """

    log: Identity | None = None

    def __del__(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self.close()


def connect(file: Path, *, create: bool = False) -> _Connection:
    """Open a connection with the settings of this package; transactions are started explicitly."""
    database = sqlite3.connect(
        f"{file.as_uri()}?mode={'rwc' if create else 'rw'}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        factory=_Connection,
    )
    try:
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("PRAGMA cache_size = -4000")
        # Deleted data are overwritten with zeros, although that costs as much as writing them.
        database.execute("PRAGMA secure_delete = ON")
        database.execute(f"PRAGMA journal_size_limit = {_CHECKPOINT_BYTES}")
        (page_bytes,) = database.execute("PRAGMA page_size").fetchone()
        database.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_BYTES // page_bytes}")
    except BaseException:
        database.close()
        raise
    return database


class DamagedTextError(Exception):
    """Text in a table is not what was written."""


_DAMAGED_HINT = "recover all readable images with imagefinder check --repair, or restore a backup"


@contextmanager
def translated_errors(file: Path) -> Iterator[None]:
    """Raise SQLite's errors, and errors on damaged text and JSON, as ``StoreError``."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(error, file) from error
    # SQLite's error messages quote unreadable data, so they may be invalid UTF-8 themselves.
    except (DamagedTextError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CollectionCorruptError(f"the database {file} is damaged: {error}", hint=_DAMAGED_HINT) from error


def _translated(error: sqlite3.Error, file: Path) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # These have no specific error code: invalid text, and a schema that cannot be read (SQLITE_ERROR).
    broken = str(error).startswith(
        ("Could not decode to UTF-8", "malformed database schema", "no such table: main.")
    )
    if broken or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return CollectionCorruptError(f"the database {file} is damaged: {error}", hint=_DAMAGED_HINT)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
        return CollectionBusyError(
            f"the collection {file.parent} was locked by another process for more than {BUSY_SECONDS:.0f} s",
            hint="try again when that process has finished",
        )
    if code == sqlite3.SQLITE_FULL:
        return StoreError(
            f"no disk space left for the collection {file.parent}", hint="free some space and try again"
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR):
        return StoreError(
            f"the collection {file.parent} cannot be read and written: {error}",
            hint="it must be on a local disk, and write permission is needed even for searching",
        )
    return StoreError(f"the collection {file.parent} cannot be used: {error}")
