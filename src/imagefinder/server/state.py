"""The server's state in one SQLite file: schema, connections and errors."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagefinder.core.errors import StoreError

FILE_NAME = "server.sqlite"
FORMAT = 2
APPLICATION_ID = int.from_bytes(b"IMGS")
BUSY_SECONDS = 30.0

_LARGEST_LOG_BYTES = 4 << 20
"""Size to which the write-ahead log is truncated after a large upload."""

# The collections of a key are a JSON list of names, or NULL for all.
# Uploads have a separate table because SQLite rewrites the whole row when a job changes. Servers with different
# default collections can share the file: each has its own queue.
_TABLES = (
    """
    CREATE TABLE keys (
        name TEXT PRIMARY KEY,
        access TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        created_at REAL NOT NULL,
        collections TEXT
    ) STRICT
    """,
    """
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        queue TEXT NOT NULL,
        job TEXT NOT NULL,
        spec TEXT NOT NULL,
        tries INTEGER NOT NULL,
        cancel INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE uploads (
        job TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
        data BLOB NOT NULL
    ) STRICT
    """,
    "CREATE TABLE imports (sha256 TEXT PRIMARY KEY, file TEXT NOT NULL) STRICT",
)

_MIGRATIONS = {1: "ALTER TABLE keys ADD COLUMN collections TEXT"}
"""Format -> the statement that converts it to the next one."""


class State:
    """A connection to the state of a server, shared by threads but not by processes.

    Any number of processes may read and write at the same time. Writes are durable and visible to all processes
    when their ``writing`` block ends.
    """

    def __init__(self, folder: Path) -> None:
        """Store the location; nothing is opened or created yet.

        Args:
            folder: Folder of the state (setting ``state``).
        """
        self.file = folder / FILE_NAME
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._own_changes = 0

    def exists(self) -> bool:
        """Whether the state file exists.

        Raises:
            StoreError: the folder cannot be read.
        """
        with translated_errors(self.file):
            return self.file.exists()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The database connection for one SELECT.

        Raises:
            StoreError: the file is damaged, has another format, belongs to another program, or cannot be read.
        """
        with self._lock, translated_errors(self.file):
            yield self._connection()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: committed durably at the end of the block, rolled back if the block raises.

        Raises:
            StoreError: as ``reading``; also if the file cannot be written or another process keeps it locked.
        """
        with self._lock, translated_errors(self.file):
            database = self._connection()
            self._own_changes += 1
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")

    def revision(self, database: sqlite3.Connection) -> tuple[int, int]:
        """A value that changes with every write by any process; to be called within ``reading``.

        Raises:
            sqlite3.Error: translated by ``reading``.
        """
        # data_version counts the changes by other connections only, and restarts with each connection.
        return self._own_changes, database.execute("PRAGMA data_version").fetchone()[0]

    def close(self) -> None:
        """Close the connection; the next access opens it again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _connection(self) -> sqlite3.Connection:
        # A deleted file stays readable through an open connection: without this check, its keys would stay valid.
        if self._database is not None and self._identity != _identity(self.file):
            self._close()
        if self._database is None:
            self._database = _open(self.file)
            # Python 3.13 warns of connections that are collected while open.
            weakref.finalize(self, self._database.close)
            self._own_changes += 1
            self._identity = _identity(self.file)
        return self._database


def make_folder(folder: Path) -> None:
    """Create a private folder and its parents durably: they survive a power failure.

    Raises:
        OSError: it cannot be created.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name == "nt":  # Windows cannot open folders
        return
    for path in missing:
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _open(file: Path) -> sqlite3.Connection:
    make_folder(file.parent)
    # Create the file with private permissions; SQLite copies them to its log. Only a new file is opened here,
    # because closing a file drops the locks that other connections of this process have on it.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    database = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA foreign_keys = ON")
        database.execute(f"PRAGMA journal_size_limit = {_LARGEST_LOG_BYTES}")
        stored = _format(database, file)
        if stored != FORMAT:
            if not stored:
                database.execute("PRAGMA auto_vacuum = FULL")  # the file shrinks when uploads are deleted
            _enable_wal(database)
            database.execute("BEGIN IMMEDIATE")
            # Another process may have been faster. A killed one leaves the old format, never half a schema.
            stored = _format(database, file)
            for statement in _TABLES if not stored else [_MIGRATIONS[old] for old in range(stored, FORMAT)]:
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {FORMAT}")
            database.execute("COMMIT")
        _enable_wal(database)  # copies made by other tools may have lost this mode
    except BaseException:
        database.close()
        raise
    return database


def _format(database: sqlite3.Connection, file: Path) -> int:
    """The format of the file, from 1 to ``FORMAT``; 0 for an empty file.

    Raises:
        StoreError: the file belongs to another program or has an unknown format.
    """
    # A single statement sees a consistent state while another process creates the schema.
    application, version, tables = database.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)"
        " FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if application == 0 and tables == 0:
        return 0
    if application != APPLICATION_ID:
        raise StoreError(
            f"{file} belongs to another program (application id {application:#010x}, not {APPLICATION_ID:#010x})",
            hint="choose another folder with the setting state",
        )
    if not 1 <= version <= FORMAT:
        raise StoreError(
            f"the server state {file} has format {version}; this version of imagefinder reads format {FORMAT}",
            hint="use the version of imagefinder that wrote it, or a newer one",
        )
    return int(version)


def _enable_wal(database: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; retries, because SQLite does not wait for other processes while switching."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def translated_errors(file: Path) -> Iterator[None]:
    """Convert SQLite and file system errors to ``StoreError``."""
    try:
        yield
    except OSError as error:
        raise _unusable(file, error.strerror or str(error)) from error
    except sqlite3.Error as error:
        raise _translated(error, file) from error


def _translated(error: sqlite3.Error, file: Path) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # Some kinds of damage have no specific error code: text that is not UTF-8, a schema that cannot be parsed.
    signs = ("Could not decode to UTF-8", "malformed database schema", "no such table")
    if str(error).startswith(signs) or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damaged(file, error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(
            f"another process locked the server state {file} for more than {BUSY_SECONDS:.0f} s",
            hint="try again when that process has finished",
        )
    return _unusable(file, str(error))


def damaged(file: Path, reason: object) -> StoreError:
    """The error for a damaged state file."""
    return StoreError(
        f"the server state {file} is damaged: {reason}",
        hint="stop the servers that use it and restore a backup of the file, or move it away and create new keys",
    )


def _unusable(file: Path, reason: str) -> StoreError:
    return StoreError(
        f"the server state {file} cannot be used: {reason}",
        hint="the folder (setting state) must be writable and on a local disk with free space",
    )
