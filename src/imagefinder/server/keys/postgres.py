"""API keys in PostgreSQL, stored as hashes, for any number of servers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from typing import Any

from imagefinder.core.errors import StoreError
from imagefinder.core.keys import Access, Key, check_fits, find_key, new_key, unknown_key
from imagefinder.stores.distributed.pool import Connection, Database

_SECONDS = 0.5
"""Age at which the keys are read again: a key that was revoked elsewhere is valid for this long at most."""

_SECONDS_UNKNOWN = 0.05
"""Age at which they are read again for a key that is not among them, which may be new."""


class PostgresKeys:
    """The keys of the servers that share a database."""

    def __init__(self, database: Database) -> None:
        """Nothing is read yet; closing the keys does not close the database."""
        self._database = database
        self._lock = threading.Lock()
        self._keys: tuple[Key, ...] = ()
        self._read_at = -1.0

    def close(self) -> None:
        """Forget the keys that were read."""
        self._read_at = -1.0

    def entries(self) -> tuple[Key, ...]:
        """All keys, sorted by name.

        Raises:
            StoreError: they cannot be read.
        """
        return self._recent(0.0)

    def find(self, secret: bytes) -> Key | None:
        """The key with this secret, or ``None``; the comparison takes constant time.

        Raises:
            StoreError: the keys cannot be read.
        """
        found = find_key(secret, self._recent(_SECONDS))
        return found or find_key(secret, self._recent(_SECONDS_UNKNOWN))

    def exists(self, sha256: str) -> bool:
        """Whether the key with this hash exists, that is, was not revoked.

        Raises:
            StoreError: the keys cannot be read.
        """
        return any(key.sha256 == sha256 for key in self._recent(_SECONDS))

    def create(self, name: str, access: Access, collections: Sequence[str] | None = None) -> str:
        """Create a key and return its secret, which is not stored.

        Raises:
            InputError: a name is invalid or already in use, or there are too many keys or collections.
            StoreError: the keys cannot be read or written.
        """
        secret, key = new_key(name, access, collections)

        def insert(connection: Connection) -> None:
            connection.execute("LOCK TABLE api_keys IN SHARE ROW EXCLUSIVE MODE")
            keys = _all(connection, self._database.shown)
            if key in keys:  # it was stored, and only the answer of the database was lost
                return
            check_fits(key, keys)
            names = None if key.collections is None else json.dumps(key.collections)
            connection.execute(
                "INSERT INTO api_keys VALUES (%s, %s, %s, %s, %s)",
                [key.name, key.access, key.sha256, key.created_at, names],
            )

        self._database.write(insert)
        self._read_at = -1.0
        return secret

    def revoke(self, name: str) -> None:
        """Revoke a key.

        Raises:
            InputError: there is no key with this name.
            StoreError: the keys cannot be read or written.
        """
        keys = self.entries()
        if all(key.name != name for key in keys):
            raise unknown_key(name, keys)
        self._database.run(lambda connection: connection.execute("DELETE FROM api_keys WHERE name = %s", [name]))
        self._read_at = -1.0

    def _recent(self, seconds: float) -> tuple[Key, ...]:
        """The keys as they were at most ``seconds`` ago."""
        called = time.monotonic()
        with self._lock:  # those who wait for it share what was read meanwhile
            if self._read_at < 0 or called - self._read_at >= seconds:
                read_at = time.monotonic()
                self._keys = self._database.read(lambda connection: _all(connection, self._database.shown))
                self._read_at = read_at
            return self._keys


def _all(connection: Connection, shown: str) -> tuple[Key, ...]:
    rows = connection.execute(
        "SELECT name, access, sha256, created_at, collections FROM api_keys ORDER BY name"
    ).fetchall()
    try:
        return tuple(map(_key, rows))
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreError(
            f"the API keys in {shown} are damaged: {error}", hint="restore a backup of the database"
        ) from error


def _key(row: tuple[Any, ...]) -> Key:
    name, access, sha256, created_at, collections = row
    return Key(name, access, sha256, created_at, None if collections is None else tuple(json.loads(collections)))
