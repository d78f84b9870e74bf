"""The server's state in one SQLite file: its schema, its connections, its errors."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagefinder.core.errors import StoreError

FILE_NAME = "server.sqlite"
FORMAT = 1
APPLICATION_ID = int.from_bytes(b"IMGS")
BUSY_SECONDS = 30.0

_LARGEST_LOG_BYTES = 4 << 20
"""The write-ahead log is cut back to this size after a large upload went through it."""

# Uploads have a table of their own: SQLite rewrites the whole row when a job changes. Several servers of different
# default collections may share the file: each has its own queue.
_TABLES = (
    """
    CREATE TABLE keys (
        name TEXT PRIMARY KEY,
        access TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        created_at REAL NOT NULL
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


class State:
    """One connection to the state of a server; threads share it, processes do not.

    Any number of processes may read and write at the same time. What was written is durable, and visible to all of
    them, when its block ends.
    """

    def __init__(self, folder: Path) -> None:
        """Name the place; nothing is opened or created yet.

        Args:
            folder: The setting ``state``.
        """
        self.file = folder / FILE_NAME
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._own_changes = 0

    def exists(self) -> bool:
        """Whether anything was ever written.

        Raises:
            StoreError: the folder cannot be read.
        """
        with translated_errors(self.file):
            return self.file.exists()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The database, to run one SELECT.

        Raises:
            StoreError: the file is damaged, of another format or program, or cannot be read.
        """
        with self._lock, translated_errors(self.file):
            yield self._connection()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: durable when the block has ended, undone if it raised.

        Raises:
            StoreError: as ``reading``; or the file cannot be written, or another process kept it locked.
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
        """A value that changes with every write, by whichever process; within ``reading``.

        Raises:
            sqlite3.Error: translated by ``reading``.
        """
        # SQLite counts what others changed; each connection begins to count anew.
        return self._own_changes, database.execute("PRAGMA data_version").fetchone()[0]

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _connection(self) -> sqlite3.Connection:
        # A deleted file stays readable to those who have it open: its keys would remain valid.
        if self._database is not None and self._identity != _identity(self.file):
            self._close()
        if self._database is None:
            self._database = _open(self.file)
            self._own_changes += 1
            self._identity = _identity(self.file)
        return self._database


def make_folder(folder: Path) -> None:
    """Create a private folder, and those above it, that is still there after a power failure.

    Raises:
        OSError: it cannot be created.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name == "nt":  # folders cannot be opened there
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
    # Private from the first moment; SQLite gives its log the same permissions. Only a new file is opened here:
    # closing a file drops the locks that other connections of this process have on it.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    database = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA foreign_keys = ON")
        database.execute(f"PRAGMA journal_size_limit = {_LARGEST_LOG_BYTES}")
        if not _is_state(database, file):
            database.execute("PRAGMA auto_vacuum = FULL")  # the file shrinks when uploads are done with
            _use_log(database)
            database.execute("BEGIN IMMEDIATE")
            # Another process may have been faster; a killed one leaves an empty file, never half a schema.
            if not _is_state(database, file):
                for statement in _TABLES:
                    database.execute(statement)
                database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                database.execute(f"PRAGMA user_version = {FORMAT}")
            database.execute("COMMIT")
        _use_log(database)  # a copy made by other tools may have lost it
    except BaseException:
        database.close()
        raise
    return database


def _is_state(database: sqlite3.Connection, file: Path) -> bool:
    """Whether the schema is there; false for an empty file."""
    # One statement: three would see three states while another process creates the schema.
    application, version, tables = database.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)"
        " FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if application == 0 and tables == 0:
        return False
    if application != APPLICATION_ID:
        raise StoreError(
            f"{file} belongs to another program (application id {application:#010x}, not {APPLICATION_ID:#010x})",
            hint="choose another folder with the setting state",
        )
    if version != FORMAT:
        raise StoreError(
            f"the server state {file} is of format {version}; this version of imagefinder reads format {FORMAT}",
            hint="use the version of imagefinder that wrote it, or a newer one",
        )
    return True


def _use_log(database: sqlite3.Connection) -> None:
    """Switch to the write-ahead log. SQLite does not wait for other processes while switching, so retry here."""
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
    """Errors of SQLite and the file system as errors of the library."""
    try:
        yield
    except OSError as error:
        raise _unusable(file, error.strerror or str(error)) from error
    except sqlite3.Error as error:
        raise _translated(error, file) from error


def _translated(error: sqlite3.Error, file: Path) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # Some kinds of damage have no code of their own: text that is not UTF-8, a schema that cannot be parsed.
    signs = ("Could not decode to UTF-8", "malformed database schema", "no such table")
    if str(error).startswith(signs) or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damaged(file, error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(
            f"another process kept the server state {file} locked for more than {BUSY_SECONDS:.0f} s",
            hint="try again when it has finished",
        )
    return _unusable(file, str(error))


def damaged(file: Path, reason: object) -> StoreError:
    """The error for a state that cannot be trusted."""
    return StoreError(
        f"the server state {file} is damaged: {reason}",
        hint="stop the servers that use it, then restore a copy of the file; or move the file away and create new "
        "keys",
    )


def _unusable(file: Path, reason: str) -> StoreError:
    return StoreError(
        f"the server state {file} cannot be used: {reason}",
        hint="the setting state names the folder: it needs a local disk with space left, and write permission",
    )
