"""API keys, as data: their stored records, and the rules for new ones."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from imagefinder.core.collection_names import COLLECTION_NAME, NAME_RULE
from imagefinder.core.errors import InputError

Access: TypeAlias = Literal["read", "write"]

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


def new_key(name: str, access: Access, collections: Sequence[str] | None = None) -> tuple[str, Key]:
    """A new key: its secret, which is not stored, and its record.

    Args:
        name: Name of the key's owner.
        access: ``read`` or ``write``.
        collections: Names of the collections that the key may use, which need not exist; default: all.

    Raises:
        InputError: a name is invalid, or there are too many collections.
    """
    allowed = _allowed(collections)
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is not a valid key name",
            hint="use 1 to 64 letters, digits and the characters . _ @ -, starting with a letter or digit",
        )
    secret = PREFIX + secrets.token_urlsafe(32)
    return secret, Key(name, access, hashlib.sha256(secret.encode()).hexdigest(), time.time(), allowed)


def check_fits(key: Key, keys: Sequence[Key]) -> None:
    """Check that a new key can be stored in addition to the existing ones.

    Raises:
        InputError: its name is already in use, or there are too many keys.
    """
    if any(other.name == key.name for other in keys):
        raise InputError(
            f"a key named {key.name!r} already exists",
            hint=f"choose another name, or revoke it first: imagefinder keys revoke {key.name}",
        )
    if len(keys) >= MAX_KEYS:
        raise InputError(
            f"there are already {len(keys)} keys, the maximum",
            hint="revoke keys that are no longer used: imagefinder keys revoke NAME",
        )


def unknown_key(name: str, keys: Iterable[Key]) -> InputError:
    """The error for the name of a key that does not exist."""
    names = ", ".join(key.name for key in keys)
    return InputError(
        f"there is no key named {name!r}", hint=f"existing keys: {names}" if names else "no keys exist yet"
    )


def find_key(secret: bytes, keys: Iterable[Key]) -> Key | None:
    """The key with this secret, or ``None``; the comparison takes constant time."""
    # Plain SHA-256 is sufficient: a key has 256 random bits and cannot be found by brute force. A slow hash
    # protects passwords that people choose; here it would add 100 ms to each request.
    digest = hashlib.sha256(secret).hexdigest()
    found = None
    for key in keys:
        if hmac.compare_digest(digest, key.sha256):
            found = key
    return found


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
                hint=f"use {NAME_RULE}",
            )
    allowed = tuple(sorted(set(collections)))
    if not 1 <= len(allowed) <= MAX_COLLECTIONS:
        raise InputError(
            f"a key can be restricted to 1 to {MAX_COLLECTIONS} collections, not {len(allowed)}",
            hint="without a restriction, a key may use all collections",
        )
    return allowed
