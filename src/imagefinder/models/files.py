"""Files of weights: their SHA-256, and how work on them reports its progress."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeGuard

from imagefinder.core.errors import ModelError

Progress = Callable[[int, int], None]
"""Called with the bytes that are done and the bytes there are."""

CHUNK = 1 << 20
"""Bytes read at once."""


def is_sha256(value: object) -> TypeGuard[str]:
    """Whether ``value`` is a SHA-256 in lower-case hexadecimal."""
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def remembered_sha256(path: Path) -> str:
    """The same, computed once per process for as long as size and time of change stay.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return _sha256_of_version(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256_of_version(path: Path, size: int, mtime_ns: int) -> str:
    del size, mtime_ns  # they are part of the key
    return file_sha256(path)


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(f"the weight file {path} cannot be read: {error.strerror}")
