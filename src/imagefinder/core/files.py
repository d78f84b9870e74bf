"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path


def write_atomically(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write a file so that a reader, or a crash at any moment, sees the old content or the new, never a part.

    The content is on disk before the file gets its name. The mode is 0600, as of every temporary file.

    Args:
        path: The file, in a folder that exists; replaced if it is there.
        chunks: Its content, piece by piece.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
        try:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
