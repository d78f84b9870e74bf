"""SHA-256 of weight files, and the type of progress callbacks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeGuard

from imagefinder.core.errors import ModelError

Progress = Callable[[int, int], None]
"""Called with (done, total) bytes."""

CHUNK = 1 << 20
"""Bytes per read."""


def is_sha256(value: object) -> TypeGuard[str]:
    """Whether ``value`` is a SHA-256 in lower-case hexadecimal."""
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def is_commit(revision: str) -> bool:
    """Whether a revision of a repository is a commit, which always means the same files."""
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def file_sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, hexadecimal.

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def cached_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal; computed again only if its size or modification time has changed.

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return _sha256_of_version(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256_of_version(path: Path, size: int, mtime_ns: int) -> str:
    del size, mtime_ns  # part of the cache key
    return file_sha256(path)


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(f"the weight file {path} cannot be read: {error.strerror}")
