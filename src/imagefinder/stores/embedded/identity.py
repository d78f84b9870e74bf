"""The identity of files, to detect that an open file was moved or replaced."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

Identity: TypeAlias = tuple[int, int]
"""Device and inode of a file."""


def identity_of(file: Path) -> Identity | None:
    """The identity of the file at a path; ``None`` if there is none or it cannot be reached."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
