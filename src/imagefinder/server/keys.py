"""API keys of the server, stored as hashes."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import math
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from imagefinder.core.errors import InputError, StoreError
from imagefinder.server.collection_names import COLLECTION_NAME
from imagefinder.server.state import State, damaged, translated_errors

if TYPE_CHECKING:
    import sqlite3

Access = Literal["read", "write"]

PREFIX = "if_"
"""Prefix of every key, so that people and secret scanners can recognise one."""

MAX_KEYS = 1000
"""Largest number of keys. The limit exists because each request is compared with all keys."""

MAX_COLLECTIONS = 100
"""Largest number of collections to which one key can be restricted."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


@dataclass(frozen=True, slots=True)
class Key:
    """The stored record of a key.

    Attributes:
        name: Name of the key's owner, for people and the log.
        access: ``read`` allows viewing and searching; ``write`` also allows changes.
        sha256: SHA-256 of the key, in hexadecimal.
        created_at: Seconds since 1970.
        collections: Names of the collections that the key may use, sorted; ``None`` for all.

    Raises:
        ValueError, TypeError: an attribute is invalid.
    """

    name: str
    access: Access
    sha256: str
    created_at: float
    collections: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if (
            not _NAME.fullmatch(self.name)
            or self.access not in ("read", "write")
            or not re.fullmatch("[0-9a-f]{64}", self.sha256)
            or not math.isfinite(self.created_at)
            or not (self.collections is None or _are_names(self.collections))
        ):
            raise ValueError(f"invalid key record {self.name!a}")


class Keys:
    """The keys of a server. Other processes may change them at any time."""

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
        keys = self.entries()
        # Plain SHA-256 is sufficient: a key has 256 random bits and cannot be found by brute force. A slow hash
        # protects passwords that people choose; here it would add 100 ms to each request.
        digest = hashlib.sha256(secret).hexdigest()
        found = None
        for key in keys:
            if hmac.compare_digest(digest, key.sha256):
                found = key
        return found

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
        allowed = _allowed(collections)
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{name!r} is not a valid key name",
                hint="use 1 to 64 letters, digits and the characters . _ @ -, starting with a letter or digit",
            )
        self._import_old_file()
        secret = PREFIX + secrets.token_urlsafe(32)
        with self._state.writing() as database:
            keys = self._all(database)
            if any(key.name == name for key in keys):
                raise InputError(
                    f"a key named {name!r} already exists",
                    hint=f"choose another name, or revoke it first: imagefinder keys revoke {name}",
                )
            if len(keys) >= MAX_KEYS:
                raise InputError(
                    f"there are already {len(keys)} keys, the maximum",
                    hint="revoke keys that are no longer used: imagefinder keys revoke NAME",
                )
            digest = hashlib.sha256(secret.encode()).hexdigest()
            _insert(database, Key(name, access, digest, time.time(), allowed))
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
                names = ", ".join(key.name for key in self._all(database))
                raise InputError(
                    f"there is no key named {name!r}",
                    hint=f"existing keys: {names}" if names else "no keys exist yet",
                )

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


def _are_names(collections: Sequence[object]) -> bool:
    return bool(collections) and all(
        isinstance(name, str) and re.fullmatch(COLLECTION_NAME, name) for name in collections
    )


def _allowed(collections: Sequence[str] | None) -> tuple[str, ...] | None:
    if collections is None:
        return None
    for name in collections:
        if not re.fullmatch(COLLECTION_NAME, name):
            raise InputError(
                f"{name[:100]!r} is not a valid collection name",
                hint="use up to 63 lower-case letters, digits, - and _, starting with a letter or digit",
            )
    allowed = tuple(sorted(set(collections)))
    if not 1 <= len(allowed) <= MAX_COLLECTIONS:
        raise InputError(
            f"a key can be restricted to 1 to {MAX_COLLECTIONS} collections, not {len(allowed)}",
            hint="without a restriction, a key may use all collections",
        )
    return allowed


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
