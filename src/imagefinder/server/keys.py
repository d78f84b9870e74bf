"""API keys: who may ask, kept as hashes in one small file."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import math
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from imagefinder.core.errors import InputError, StoreError

Access = Literal["read", "write"]

PREFIX = "if_"
"""How every key begins, so that people and secret scanners know one when they see it."""

MAX_KEYS = 1000
"""Every request is compared with all of them."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key.

    Attributes:
        name: Whose it is, for people and the log.
        access: ``read``: look and search. ``write``: also change.
        sha256: Of the key, in hexadecimal.
        created_at: Seconds since 1970.
    """

    name: str
    access: Access
    sha256: str
    created_at: float


class KeyFile:
    """The keys of a server; other processes may change them at any time."""

    def __init__(self, state: Path) -> None:
        """Name the place; nothing is read or written yet.

        Args:
            state: Folder of what the server keeps (setting ``state``).
        """
        self._folder = state
        self._file = state / "keys.json"
        self._seen: tuple[int, int, int] | None = None
        self._keys: tuple[Key, ...] = ()
        self._hashes: tuple[bytes, ...] = ()

    def entries(self) -> tuple[Key, ...]:
        """All keys, in order of name.

        Raises:
            StoreError: the file is there and cannot be read.
        """
        try:
            status = self._file.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                self._keys = _parse(self._file.read_bytes())
                self._hashes = tuple(bytes.fromhex(key.sha256) for key in self._keys)
                self._seen = seen
        except FileNotFoundError:
            self._keys, self._hashes, self._seen = (), (), None
        except OSError as error:
            raise StoreError(f"the keys in {self._file} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise StoreError(
                f"the keys in {self._file} are damaged: {error}",
                hint="put a copy of the file back, or delete it and make new keys",
            ) from error
        return self._keys

    def find(self, secret: bytes) -> Key | None:
        """The key with this secret; takes as long for one that is nearly right as for any other.

        Raises:
            StoreError: see ``entries``.
        """
        keys = self.entries()
        # A plain SHA-256 suffices: a key is 256 random bits, so nobody can try them all, however fast the hash.
        # Slow hashes are for passwords, which people choose; here they would cost each request 100 ms.
        digest = hashlib.sha256(secret).digest()
        found = None
        for key, known in zip(keys, self._hashes, strict=True):
            if hmac.compare_digest(digest, known):
                found = key
        return found

    def create(self, name: str, access: Access) -> str:
        """Make a key; this is the only time its secret is known.

        Raises:
            InputError: an impossible name, or one that is taken; too many keys.
            StoreError: the file cannot be read or written.
        """
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{name!r} is no name for a key",
                hint="1 to 64 letters, digits, and . _ @ -, beginning with a letter or a digit",
            )
        with self._changing() as keys:
            if any(key.name == name for key in keys):
                raise InputError(
                    f"there is a key {name!r} already", hint=f"revoke it first: imagefinder keys revoke {name}"
                )
            if len(keys) >= MAX_KEYS:
                raise InputError(f"there are {len(keys)} keys already, the most there can be")
            secret = PREFIX + secrets.token_urlsafe(32)
            digest = hashlib.sha256(secret.encode()).hexdigest()
            keys.append(Key(name, access, digest, time.time()))
        return secret

    def revoke(self, name: str) -> None:
        """Let a key open nothing any more.

        Raises:
            InputError: there is none of that name.
            StoreError: the file cannot be read or written.
        """
        with self._changing() as keys:
            kept = [key for key in keys if key.name != name]
            if len(kept) == len(keys):
                names = ", ".join(key.name for key in keys)
                raise InputError(f"there is no key {name!r}", hint=f"keys: {names}" if names else "there are none")
            keys[:] = kept

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[Key]]:
        """The keys as a list to be changed, which is written at the end; one process at a time."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self._folder / "keys.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                keys = list(self.entries())
                yield keys
                self._write(sorted(keys, key=lambda key: key.name))
            finally:
                os.close(lock)
        except OSError as error:
            raise StoreError(
                f"the keys in {self._file} cannot be written: {error.strerror}",
                hint="the setting state names another folder",
            ) from error

    def _write(self, keys: list[Key]) -> None:
        text = json.dumps({"format": 1, "keys": [asdict(key) for key in keys]}, indent=1)
        # Readable by its owner only from the first moment, and put in place whole or not at all.
        with tempfile.NamedTemporaryFile("w", dir=self._folder, prefix="keys.", delete=False) as file:
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(self._file)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


def _parse(data: bytes) -> tuple[Key, ...]:
    document = json.loads(data)
    if document["format"] != 1:
        raise ValueError(f"format {document['format']!r} is of another version")
    keys = tuple(Key(**key) for key in document["keys"])
    for key in keys:
        if (
            not _NAME.fullmatch(key.name)
            or key.access not in ("read", "write")
            or not re.fullmatch("[0-9a-f]{64}", key.sha256)
            or not math.isfinite(key.created_at)
        ):
            raise ValueError(f"key {key.name!a}")
    return keys
