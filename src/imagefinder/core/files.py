"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from functools import partial
from pathlib import Path


def write_atomically(path: Path, chunks: Iterable[bytes | memoryview], *, mode: int = 0o600) -> None:
    """Write a file so that a reader, or a crash at any moment, sees the old content or the new, never a part.

    The content is on disk before the file gets its name.

    Args:
        path: The file, in a folder that exists; replaced if it is there.
        chunks: Its content, piece by piece.
        mode: Permissions, less those that the umask forbids.

    Raises:
        OSError: it cannot be written; nothing is left behind.
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
