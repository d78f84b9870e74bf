"""API keys: who may use the server, kept as hashes."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import math
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from imagefinder.core.errors import InputError, StoreError
from imagefinder.server.state import State, damaged, translated_errors

if TYPE_CHECKING:
    import sqlite3

Access = Literal["read", "write"]

PREFIX = "if_"
"""How every key begins, so that people and secret scanners recognise one."""

MAX_KEYS = 1000
"""Every request is compared with all of them."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


@dataclass(frozen=True, slots=True)
class Key:
    """What is stored of a key.

    Attributes:
        name: Whose it is, for people and the log.
        access: ``read``: look and search. ``write``: also change.
        sha256: Of the key, in hexadecimal.
        created_at: Seconds since 1970.

    Raises:
        ValueError, TypeError: it is not a valid key.
    """

    name: str
    access: Access
    sha256: str
    created_at: float

    def __post_init__(self) -> None:
        if (
            not _NAME.fullmatch(self.name)
            or self.access not in ("read", "write")
            or not re.fullmatch("[0-9a-f]{64}", self.sha256)
            or not math.isfinite(self.created_at)
        ):
            raise ValueError(f"key {self.name!a}")


class Keys:
    """The keys of a server; other processes may change them at any time."""

    def __init__(self, state: Path) -> None:
        """Name the place; nothing is read or written yet.

        Args:
            state: Folder of the server's state (setting ``state``).
        """
        self._state = State(state)
        self._old_file = state / "keys.json"
        self._keys: tuple[Key, ...] = ()
        self._revision: tuple[int, int] | None = None  # of the state from which the keys were read

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._state.close()

    def entries(self) -> tuple[Key, ...]:
        """All keys, in order of name.

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
        """The key with this secret; takes as long for one that is nearly right as for any other.

        Raises:
            StoreError: see ``entries``.
        """
        keys = self.entries()
        # A plain SHA-256 suffices: a key is 256 random bits, so nobody can try them all, however fast the hash.
        # Slow hashes are for passwords, which people choose; here they would cost each request 100 ms.
        digest = hashlib.sha256(secret).hexdigest()
        found = None
        for key in keys:
            if hmac.compare_digest(digest, key.sha256):
                found = key
        return found

    def create(self, name: str, access: Access) -> str:
        """Create a key; this is the only time its secret is known.

        Raises:
            InputError: an invalid name, or one that is taken; too many keys.
            StoreError: the keys cannot be read or written.
        """
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{name!r} is no name for a key",
                hint="1 to 64 letters, digits, and . _ @ -, beginning with a letter or a digit",
            )
        self._import_old_file()
        secret = PREFIX + secrets.token_urlsafe(32)
        with self._state.writing() as database:
            keys = self._all(database)
            if any(key.name == name for key in keys):
                raise InputError(
                    f"there is a key {name!r} already", hint=f"revoke it first: imagefinder keys revoke {name}"
                )
            if len(keys) >= MAX_KEYS:
                raise InputError(f"there are {len(keys)} keys already, the most there can be")
            _insert(database, Key(name, access, hashlib.sha256(secret.encode()).hexdigest(), time.time()))
        return secret

    def revoke(self, name: str) -> None:
        """Make a key invalid.

        Raises:
            InputError: there is none of that name.
            StoreError: the keys cannot be read or written.
        """
        self._import_old_file()
        with self._state.writing() as database:
            if not database.execute("DELETE FROM keys WHERE name = ?", (name,)).rowcount:
                names = ", ".join(key.name for key in self._all(database))
                raise InputError(f"there is no key {name!r}", hint=f"keys: {names}" if names else "there are none")

    def _all(self, database: sqlite3.Connection) -> tuple[Key, ...]:
        rows = database.execute("SELECT name, access, sha256, created_at FROM keys ORDER BY name")
        try:
            return tuple(Key(*row) for row in rows)
        except (ValueError, TypeError) as error:
            raise damaged(self._state.file, error) from error

    def _import_old_file(self) -> None:
        """Take in ``keys.json``, which held the keys before; the same content once, or revoked keys would return.

        Raises:
            StoreError: it is damaged, or has a key of a name that exists.
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
    row = (key.name, key.access, key.sha256, float(key.created_at))
    database.execute("INSERT INTO keys (name, access, sha256, created_at) VALUES (?, ?, ?, ?)", row)


def _parse(data: bytes, taken: set[str]) -> list[Key]:
    document = json.loads(data)
    if document["format"] != 1:
        raise ValueError(f"format {document['format']!r} is of another version")
    keys = [Key(**key) for key in document["keys"]]
    for key in keys:
        if key.name in taken:
            raise ValueError(f"there is a key {key.name!r} already")
        taken.add(key.name)
    return keys


def _damaged(file: Path, reason: object) -> StoreError:
    return StoreError(
        f"the keys in {file} are damaged: {reason}",
        hint="put a copy of the file back, or delete it and create new keys",
    )
