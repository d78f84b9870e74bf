"""The items of a source: images to index, each with an id and a function that reads its bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import quote, unquote_to_bytes

from imagefinder.core.errors import ImageTooLargeError, SourceError
from imagefinder.core.image_formats import IMAGE_SUFFIXES
from imagefinder.core.pages import split_page
from imagefinder.core.records import Failure
from imagefinder.indexing.guard import TRUSTED, Guard

_SYSTEM_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information"})


@dataclass(frozen=True, slots=True)
class SourceItem:
    """An image found in a source, not read yet.

    Attributes:
        id: Its id in the collection.
        uri: Its location: ``file:``, ``archive:``, ``http:`` or ``https:``.
        source: URI of the folder, archive or list that contains it; empty for a single file or URL.
        stamp: A value that changes when the bytes may have changed; empty if unavailable.
        metadata: Metadata from the source.
        read: Returns the bytes, given a size limit; raises ``SourceError`` or ``ImageTooLargeError``. ``None`` if
            the image has to be downloaded from ``uri``.
        in_order: Whether reading is fast only in the order of discovery (compressed archives).
        page: Page of the file, or frame of the animation, from 1.
        pages: Number of items that are made from the file.
    """

    id: str
    uri: str
    source: str = ""
    stamp: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    read: Callable[[int], bytes] | None = field(default=None, repr=False, compare=False)
    in_order: bool = False
    page: int = 1
    pages: int = 1


@dataclass(frozen=True, slots=True)
class SourceEnd:
    """The end of a folder, archive or list.

    Attributes:
        source: URI of the source.
        complete: Whether all of it could be read; only then was a missing image removed from the source.
        images: Number of images found.
        skipped: Number of files skipped because their extension is not that of an image.
    """

    source: str
    complete: bool
    images: int
    skipped: int


Discovered: TypeAlias = SourceItem | Failure | SourceEnd
"""The events that ``discover`` yields."""


def is_image_name(name: str) -> bool:
    """Whether a file name has the extension of an image (case-insensitive)."""
    return os.path.splitext(name)[1][1:].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - a name, and a hot path


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden or created by an operating system."""
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


def name_to_text(name: str) -> str:
    r"""Convert a file name to text, for ids and messages: bytes that are not valid UTF-8 become ``\xNN``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def file_uri(path: str | os.PathLike[str]) -> str:
    """The ``file:`` URI of a path; it preserves the exact bytes of the name."""
    return "file://" + quote(os.fsencode(os.path.abspath(path)))  # noqa: PTH100 - Path would normalise some names


def local_path(uri: str) -> str | None:
    """The path of a ``file:`` URI, or of the archive of an ``archive:`` URI; ``None`` for any other URI."""
    if uri.startswith("archive:"):
        uri = uri.removeprefix("archive:").partition("!/")[0]
    if not uri.startswith("file://"):
        return None
    return os.fsdecode(unquote_to_bytes(split_page(uri)[0].removeprefix("file://")))


def file_stamp(status: os.stat_result) -> str:
    """The stamp of a file: size, modification time, change time and inode.

    The last two notice content that was exchanged or edited without a new size and modification time. On Windows,
    the change time is the time of creation.
    """
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def is_same_stamp(stored: str, current: str) -> bool:
    """Whether a stamp shows that the bytes are unchanged.

    Stamps of earlier versions have size and modification time only, and are compared by these.
    """
    return bool(stored) and (stored == current or (stored.count(":") == 1 and current.startswith(f"{stored}:")))


def inode_of(stamp: str) -> str:
    """Size, modification time and inode in the stamp of a file; empty if it has none."""
    match stamp.split(":"):
        case [size, modified, _, inode] if inode != "0":
            return f"{size}:{modified}:{inode}"
    return ""


def file_item(
    path: str,
    status: os.stat_result,
    image_id: str,
    source: str,
    metadata: Mapping[str, Any] | None = None,
    *,
    guard: Guard = TRUSTED,
) -> SourceItem:
    """Create the item of a regular file."""
    return SourceItem(
        id=image_id,
        uri=file_uri(path),
        source=source,
        stamp=file_stamp(status),
        metadata=metadata or {},
        read=partial(read_file, path, guard=guard),
    )


def read_file(path: str, max_bytes: int, guard: Guard = TRUSTED) -> bytes:
    """Read an image file.

    Raises:
        SourceError: the file cannot be read, is not a regular file, or the guard does not allow it.
        ImageTooLargeError: the file exceeds ``max_bytes``; it is not read.
    """
    try:
        with guard.open(path) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise SourceError(f"{name_to_text(path)} is not a regular file")
            check_size(name_to_text(path), status.st_size, max_bytes)
            return file.read(status.st_size + 1)
    except OSError as error:
        raise SourceError(f"{name_to_text(path)} cannot be read: {error.strerror}") from error


def check_size(name: str, size: int, max_bytes: int) -> None:
    """Reject an image file that is too large.

    Raises:
        ImageTooLargeError: ``size`` exceeds ``max_bytes``.
    """
    if size > max_bytes:
        raise ImageTooLargeError(
            f"{name} has {size:,} bytes; the limit for local files is {max_bytes:,} (max_local_bytes)",
            limit=max_bytes,
            unit="bytes",
            hint="increase max_local_bytes (IMAGEFINDER_MAX_LOCAL_BYTES) if the machine has enough memory",
        )
