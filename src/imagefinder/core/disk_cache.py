"""A cache of files on the disk of this machine, which its processes share."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CHECKSUM_BYTES = 4
_DRAFT = ".new-"
_FORGOTTEN = 3600.0
"""Age in seconds at which a draft belongs to no running process."""

_REFRESH = 600.0
"""Seconds after which a file that is read counts as used again."""

_log = logging.getLogger(__name__)


class DiskCache:
    """Files with immutable content by name; the least recently used ones are deleted first.

    The cache is only an optimization: if its disk fails or is full, nothing is cached and one warning is logged.
    """

    def __init__(self, folder: Path, most: int, *, what: str) -> None:
        """Use a folder, which is created when it is needed.

        Args:
            folder: The folder.
            most: Bytes of all files, within a tenth; 0: nothing is cached.
            what: What is cached, for the warning.
        """
        self._folder = folder
        self._most = most
        self._what = what
        self._lock = threading.Lock()
        self._cleaning = threading.Lock()
        self._unaccounted: int | None = None  # bytes written since the files were listed; None: never listed
        self._failed = False

    def get(self, name: str) -> bytes | None:
        """The content under a name; ``None`` if it is not cached."""
        path = self._folder / name
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_mtime < time.time() - _REFRESH:
                    os.utime(path)
                content = file.read()
        except OSError:
            return None
        data = content[_CHECKSUM_BYTES:]
        # After a power loss, a file may be empty or have other content.
        if not data or int.from_bytes(content[:_CHECKSUM_BYTES], "little") != zlib.crc32(data):
            with suppress(OSError):
                path.unlink()
            return None
        return data

    def put(self, name: str, data: bytes) -> None:
        """Cache content under a name: a path of plain words. What would displace most others is not cached.

        The file appears complete or not at all.
        """
        if len(data) > self._most // 10:
            return
        path = self._folder / name
        draft = path.with_name(f"{_DRAFT}{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                with open(draft, "xb", opener=_private) as file:
                    file.write(zlib.crc32(data).to_bytes(_CHECKSUM_BYTES, "little"))
                    file.write(data)
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
        except OSError as error:
            if not self._failed:
                self._failed = True
                _log.warning("%s cannot be cached in %s: %s", self._what, self._folder, error.strerror)
            return
        self._account(len(data))

    def discard(self, name: str) -> None:
        """Delete what is cached under a name, if there is anything."""
        with suppress(OSError):
            (self._folder / name).unlink()

    def _account(self, size: int) -> None:
        with self._lock:
            if self._unaccounted is not None:
                self._unaccounted += size
            is_due = self._unaccounted is None or self._unaccounted > self._most // 10
        if is_due and self._cleaning.acquire(blocking=False):
            try:
                self._clean()
            finally:
                self._cleaning.release()

    def _clean(self) -> None:
        """Delete the least recently used files, so that a tenth is free; other processes may do so as well."""
        with self._lock:
            self._unaccounted = 0
        files = sorted(self._files())
        excess = sum(size for _, size, _ in files) - (self._most - self._most // 10)
        for _, size, path in files:
            if excess <= 0:
                return
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108
            excess -= size

    def _files(self) -> Iterator[tuple[float, int, str]]:
        """Time of the last use, size and path of each file."""
        now = time.time()
        for folder, _, names in os.walk(self._folder):
            for name in names:
                path = os.path.join(folder, name)  # noqa: PTH118 - tens of thousands of files
                with suppress(OSError):
                    stat = os.stat(path)  # noqa: PTH116
                    if not name.startswith(_DRAFT):
                        yield stat.st_mtime, stat.st_size, path
                    elif stat.st_mtime < now - _FORGOTTEN:
                        os.unlink(path)  # noqa: PTH108


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)
