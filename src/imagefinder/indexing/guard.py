"""What sources may reach: everything, where a person names their own; little, where a stranger names them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from imagefinder.core.errors import SourceError


@dataclass(frozen=True, slots=True)
class Guard:
    """Limits to what reading a source touches.

    Attributes:
        within: Real paths of folders; nothing outside of them is read, whatever links there are. ``None``: all
            the file system.
        local_files: Whether a list may name files beside and below it.
        check_address: Called with every IP address before it is connected to; raises ``FetchError`` to refuse.
    """

    within: tuple[str, ...] | None = None
    local_files: bool = True
    check_address: Callable[[str], None] | None = None

    def allows(self, path: str) -> bool:
        """Whether a file or folder, links followed, is in one of the folders."""
        return self.within is None or self._root(os.path.realpath(path)) is not None

    def check(self, path: str) -> None:
        """Refuse a path outside of the folders.

        Raises:
            SourceError: it is.
        """
        if not self.allows(path):
            raise _outside(path)

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading.

        A link put in the way after a check leads nowhere: the real path is walked without following any.

        Raises:
            OSError: it cannot be opened.
            SourceError: it is outside of the folders.
        """
        if self.within is None:
            return open(path, "rb", opener=_open_at_once)
        real = os.path.realpath(path)
        root = self._root(real)
        if root is None:
            raise _outside(path)
        if real == root:  # a file was allowed, not a folder
            root = os.path.dirname(root)  # noqa: PTH120 - names may be any bytes
        *folders, name = [part for part in real.removeprefix(root).split("/") if part]
        place = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for folder in folders:
                below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
                os.close(place)
                place = below
            # Not blocking: a pipe put in a file's place would be waited on for ever.
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
        finally:
            os.close(place)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise SourceError(f"{os.path.basename(path)!a} is no file")  # noqa: PTH119
        return os.fdopen(file, "rb")

    def _root(self, real: str) -> str | None:
        for root in self.within or ():
            if real == root or real.startswith(root.rstrip(os.sep) + os.sep):
                return root
        return None


TRUSTED = Guard()
"""No limits: for what a person names on their own machine."""


def _outside(path: str) -> SourceError:
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    return SourceError(f"{shown} is outside of the folders allowed here")


def _open_at_once(path: str, flags: int) -> int:
    """Without waiting: what was a file a moment ago may be a pipe now, and nobody may ever write to it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
