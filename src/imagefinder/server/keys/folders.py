"""API keys in the file of the server's state, stored as hashes."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from imagefinder.core.errors import StoreError
from imagefinder.core.keys import Access, Key, check_fits, find_key, new_key, unknown_key
from imagefinder.server.state import State, damaged, translated_errors

if TYPE_CHECKING:
    import sqlite3


class FolderKeys:
    """The keys of the servers on one machine, in the file of their state."""

    def __init__(self, state: Path) -> None:
        """Store the location; nothing is read or written yet.

        Args:
            state: Folder of the server's state (setting ``state``).
        """
        self._state = State(state)
        self._old_file = state / "keys.json"
        self._keys: tuple[Key, ...] = ()
        self._revision: tuple[int, int] | None = None  # revision of the state at which _keys was read

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        self._state.close()

    def entries(self) -> tuple[Key, ...]:
        """All keys, sorted by name.

        Raises:
            StoreError: they cannot be read.
        """
        self._import_old_file()
        if not self._state.exists():
            return ()
        with self._state.reading() as database:
            revision = self._state.revision(database)
            if revision != self._revision:
                self._keys = self._all(database)
                self._revision = revision
            return self._keys

    def find(self, secret: bytes) -> Key | None:
        """The key with this secret, or ``None``; the comparison takes constant time.

        Raises:
            StoreError: the keys cannot be read.
        """
        return find_key(secret, self.entries())

    def exists(self, sha256: str) -> bool:
        """Whether the key with this hash exists, that is, was not revoked.

        Raises:
            StoreError: the keys cannot be read.
        """
        return any(key.sha256 == sha256 for key in self.entries())

    def create(self, name: str, access: Access, collections: Sequence[str] | None = None) -> str:
        """Create a key and return its secret, which is not stored.

        Args:
            name: Name of the key's owner.
            access: ``read`` or ``write``.
            collections: Names of the collections that the key may use, which need not exist; default: all.

        Raises:
            InputError: a name is invalid or already in use, or there are too many keys or collections.
            StoreError: the keys cannot be read or written.
        """
        secret, key = new_key(name, access, collections)
        self._import_old_file()
        with self._state.writing() as database:
            check_fits(key, self._all(database))
            _insert(database, key)
        return secret

    def revoke(self, name: str) -> None:
        """Revoke a key.

        Raises:
            InputError: there is no key with this name.
            StoreError: the keys cannot be read or written.
        """
        self._import_old_file()
        with self._state.writing() as database:
            if not database.execute("DELETE FROM keys WHERE name = ?", (name,)).rowcount:
                raise unknown_key(name, self._all(database))

    def _all(self, database: sqlite3.Connection) -> tuple[Key, ...]:
        rows = database.execute("SELECT name, access, sha256, created_at, collections FROM keys ORDER BY name")
        try:
            return tuple(
                Key(name, access, sha256, created_at, None if names is None else tuple(json.loads(names)))
                for name, access, sha256, created_at, names in rows
            )
        except (ValueError, TypeError, RecursionError) as error:
            raise damaged(self._state.file, error) from error

    def _import_old_file(self) -> None:
        """Import ``keys.json``, the key file of earlier versions.

        The same content is imported only once; otherwise a restored file would bring back revoked keys.

        Raises:
            StoreError: the file is damaged or contains the name of an existing key.
        """
        with translated_errors(self._old_file):
            try:
                data = self._old_file.read_bytes()
            except FileNotFoundError:
                return
            with self._state.writing() as database:
                self._import_once(database, data)
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                self._old_file.replace(self._old_file.with_name("keys.json.imported"))

    def _import_once(self, database: sqlite3.Connection, data: bytes) -> None:
        digest = hashlib.sha256(data).hexdigest()
        if database.execute("SELECT 1 FROM imports WHERE sha256 = ?", (digest,)).fetchone():
            return
        taken = {key.name for key in self._all(database)}
        try:
            keys = _parse(data, taken)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise _damaged(self._old_file, error) from error
        for key in keys:
            _insert(database, key)
        database.execute("INSERT INTO imports VALUES (?, ?)", (digest, self._old_file.name))


def _insert(database: sqlite3.Connection, key: Key) -> None:
    names = None if key.collections is None else json.dumps(key.collections)
    row = (key.name, key.access, key.sha256, float(key.created_at), names)
    database.execute(
        "INSERT INTO keys (name, access, sha256, created_at, collections) VALUES (?, ?, ?, ?, ?)", row
    )


def _parse(data: bytes, taken: set[str]) -> list[Key]:
    document = json.loads(data)
    if document["format"] != 1:
        raise ValueError(f"unsupported format version {document['format']!r}")
    keys = []
    for key in document["keys"]:
        if set(key) != {"name", "access", "sha256", "created_at"}:
            raise ValueError("a key has other members than name, access, sha256 and created_at")
        keys.append(Key(**key))
    for key in keys:
        if key.name in taken:
            raise ValueError(f"a key named {key.name!r} already exists")
        taken.add(key.name)
    return keys


def _damaged(file: Path, error: Exception) -> StoreError:
    reason = str(error) if isinstance(error, ValueError) else "unexpected content"
    return StoreError(
        f"the key file {file} is damaged: {reason}",
        hint="restore the file from a backup, or delete it and create new keys",
    )
