"""Original files of stored images."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from typing import BinaryIO

from imagefinder.core.contracts import Store
from imagefinder.indexing.source_item import local_path


def open_original(store: Store, image_id: str) -> BinaryIO | None:
    """The open file of an image, or its kept original; ``None`` without either, or if the file has changed.

    Args:
        store: The store.
        image_id: The stored id.

    Raises:
        UnknownImageError: no image has this id.
    """
    record = store.get(image_id)
    path = local_path(record.uri) if record.uri.startswith("file:") else None
    if path is None:
        kept = store.kept([image_id], "original").get(image_id)
        return None if kept is None else io.BytesIO(kept)
    try:
        # Non-blocking: if a pipe has replaced the file, opening it would wait forever.
        file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")
    except OSError:
        return None
    status = os.fstat(file.fileno())
    is_same_size = stat.S_ISREG(status.st_mode) and status.st_size == record.size_bytes
    if is_same_size and hashlib.file_digest(file, "sha256").hexdigest() == record.sha256:
        file.seek(0)
        return file
    file.close()
    return None
