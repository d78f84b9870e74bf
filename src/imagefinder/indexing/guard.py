"""Access limits for sources: none for a user on their own machine, strict ones for clients of a server."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from imagefinder.core.errors import SourceError


@dataclass(frozen=True, slots=True)
class Guard:
    """Limits on the files and addresses that reading a source may access.

    Attributes:
        within: Real paths of the allowed folders, enforced after resolving links. ``None`` allows every file.
        local_files: Whether a list may refer to files in its folder and below.
        check_address: Called with every IP address before connecting to it; raises ``FetchError`` to reject it.
    """

    within: tuple[str, ...] | None = None
    local_files: bool = True
    check_address: Callable[[str], None] | None = None

    def allows(self, path: str) -> bool:
        """Whether a file or folder is in one of the allowed folders after resolving links."""
        return self.within is None or self._root(os.path.realpath(path)) is not None

    def check(self, path: str) -> None:
        """Reject a path outside the allowed folders.

        Raises:
            SourceError: the path is outside.
        """
        if not self.allows(path):
            raise _outside(path)

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading.

        The real path is opened component by component without following links, so a link created after the check
        has no effect.

        Raises:
            OSError: the file cannot be opened.
            SourceError: the file is outside the allowed folders.
        """
        if self.within is None:
            return open(path, "rb", opener=_open_non_blocking)
        real = os.path.realpath(path)
        root = self._root(real)
        if root is None:
            raise _outside(path)
        if real == root:  # the allowed path is a file
            root = os.path.dirname(root)  # noqa: PTH120 - names may be any bytes
        *folders, name = [part for part in real.removeprefix(root).split("/") if part]
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for folder in folders:
                below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            # Non-blocking: opening a pipe that replaced the file would block forever.
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise SourceError(f"{os.path.basename(path)!a} is not a regular file")  # noqa: PTH119
        return os.fdopen(file, "rb")

    def _root(self, real: str) -> str | None:
        for root in self.within or ():
            if real == root or real.startswith(root.rstrip(os.sep) + os.sep):
                return root
        return None


TRUSTED = Guard()
"""No limits: for sources given by a user on their own machine."""


def _outside(path: str) -> SourceError:
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    return SourceError(f"{shown} is outside the allowed folders")


def _open_non_blocking(path: str, flags: int) -> int:
    """Open without blocking, in case the file has been replaced by a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
