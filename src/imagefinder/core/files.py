"""Atomic file writes."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from functools import partial
from pathlib import Path


def write_atomically(path: Path, chunks: Iterable[bytes | memoryview], *, mode: int = 0o600) -> None:
    """Write a file atomically: readers, and crashes at any moment, see the old content or the new content.

    The content is flushed to disk before the file gets its name.

    Args:
        path: The file, in an existing folder; an existing file is replaced.
        chunks: The content in pieces.
        mode: Permissions, before the umask is applied.

    Raises:
        OSError: the file cannot be written; no temporary file remains.
    """
    draft = path.with_name(f".new-{uuid.uuid4().hex}")
    try:
        with open(draft, "xb", opener=partial(os.open, mode=mode)) as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
