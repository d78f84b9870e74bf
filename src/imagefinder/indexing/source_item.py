"""What sources consist of: images that may be indexed, each with its id and the way to its bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import quote, unquote_to_bytes

from imagefinder.core.errors import ImageTooLargeError, SourceError
from imagefinder.core.records import Failure
from imagefinder.indexing.guard import TRUSTED, Guard

# fmt: off
PICTURE_SUFFIXES = frozenset({
    "apng", "arw", "avif", "avifs", "bmp", "cr2", "cr3", "dds", "dib", "dng", "gif", "heic", "heics", "heif",
    "heifs", "hif", "icns", "ico", "j2c", "j2k", "jfif", "jp2", "jpc", "jpe", "jpeg", "jpf", "jpg", "jpx", "jxl",
    "mpo", "nef", "nrw", "orf", "pbm", "pcx", "pef", "pfm", "pgm", "png", "pnm", "ppm", "psb", "psd", "qoi", "raf",
    "rw2", "sgi", "tga", "tif", "tiff", "webp",
})
# fmt: on
"""Extensions of the files in folders and archives that are taken for images, in any case of letters.

Some of them are refused (``docs/concepts/formats.md``): a user with such images should get an error."""

_DEBRIS = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information"})


@dataclass(frozen=True, slots=True)
class SourceItem:
    """An image found in a source; nothing of it has been read yet.

    Attributes:
        id: What it will be called in the collection.
        uri: Where it is: ``file:``, ``archive:``, ``http:`` or ``https:``.
        source: URI of the folder, archive or list it was found in; empty if it was named by itself.
        stamp: Changes when its bytes may have changed; empty where nothing of the kind is known.
        metadata: What the source says about it.
        read: Returns its bytes, given the most it may return; raises ``SourceError`` or ``ImageTooLargeError``.
            ``None``: they are to be downloaded from ``uri``.
        in_order: Reading is quick only in the order of discovery (compressed archives).
    """

    id: str
    uri: str
    source: str = ""
    stamp: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    read: Callable[[int], bytes] | None = field(default=None, repr=False, compare=False)
    in_order: bool = False


@dataclass(frozen=True, slots=True)
class SourceEnd:
    """A source has been read through.

    Attributes:
        source: Its URI.
        complete: Whether all of it could be read; only then does a missing image mean that it was removed.
        pictures: How many items it gave.
        skipped: How many files in it were skipped because their names are not those of images.
    """

    source: str
    complete: bool
    pictures: int
    skipped: int


Discovered: TypeAlias = SourceItem | Failure | SourceEnd
"""What ``discover`` yields."""


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a picture."""
    return os.path.splitext(name)[1][1:].lower() in PICTURE_SUFFIXES  # noqa: PTH122 - a name, and a hot path


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or left behind by a system."""
    return name.startswith(".") or name.lower() in _DEBRIS


def readable(name: str) -> str:
    r"""A file name as an id: bytes that are no UTF-8 become ``\xNN``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def file_uri(path: str | os.PathLike[str]) -> str:
    """The ``file:`` URI of a path; it leads back to the exact bytes of the name."""
    return "file://" + quote(os.fsencode(os.path.abspath(path)))  # noqa: PTH100 - Path cannot hold every name alike


def local_path(uri: str) -> str | None:
    """The file behind a ``file:`` or ``archive:`` URI (the archive); ``None`` for any other URI."""
    if uri.startswith("archive:"):
        uri = uri.removeprefix("archive:").partition("!/")[0]
    if not uri.startswith("file://"):
        return None
    return os.fsdecode(unquote_to_bytes(uri.removeprefix("file://")))


def file_item(
    path: str,
    status: os.stat_result,
    image_id: str,
    source: str,
    metadata: Mapping[str, Any] | None = None,
    *,
    guard: Guard = TRUSTED,
) -> SourceItem:
    """The item of a regular file."""
    return SourceItem(
        id=image_id,
        uri=file_uri(path),
        source=source,
        stamp=f"{status.st_size}:{status.st_mtime_ns}",
        metadata=metadata or {},
        read=partial(read_file, path, guard=guard),
    )


def read_file(path: str, max_bytes: int, guard: Guard = TRUSTED) -> bytes:
    """The bytes of a picture file.

    Raises:
        SourceError: it cannot be read, is no regular file (any more), or the guard keeps it.
        ImageTooLargeError: more than ``max_bytes``; no more than that is read.
    """
    try:
        with guard.open(path) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise SourceError(f"{readable(path)} is no file")
            check_size(readable(path), status.st_size, max_bytes)
            return file.read(status.st_size + 1)
    except OSError as error:
        raise SourceError(f"{readable(path)} cannot be read: {error.strerror}") from error


def check_size(name: str, size: int, max_bytes: int) -> None:
    """Refuse a picture that is too large.

    Raises:
        ImageTooLargeError: more than ``max_bytes``.
    """
    if size > max_bytes:
        raise ImageTooLargeError(
            f"{name} has {size:,} bytes; at most {max_bytes:,} are accepted", limit=max_bytes, unit="bytes"
        )
