"""The original files of stored images, as they are now, and why one must not be proposed for deletion.

A file is proposed only if it is there, readable and unchanged, and is the only name of its bytes. What the
collection remembers does not count: every answer looks at the disk again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import PurePath

from imagefinder.core.errors import ImageError, ImagefinderError
from imagefinder.core.features import FullDepth
from imagefinder.core.image_contracts import Decoder
from imagefinder.core.pages import page_of
from imagefinder.core.records import ImageRecord
from imagefinder.core.settings import Settings
from imagefinder.indexing.source_item import local_path, read_file

# ruff: noqa: PTH116, PTH117, PTH122, PTH208 - names may be any bytes, and Path is slow for a million files

RAW_FORMATS = frozenset({"DNG", "CR2", "NEF", "ARW", "PEF", "RAW"})
"""``ImageRecord.format`` of camera raw files."""

RAW_SUFFIXES = frozenset({"3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "fff", "gpr", "iiq", "k25"}) | {
    *(
        "kdc",
        "mef",
        "mos",
        "mrw",
        "nef",
        "nrw",
        "orf",
        "pef",
        "raf",
        "raw",
        "rw2",
        "rwl",
        "sr2",
        "srf",
        "srw",
        "x3f",
    )
}
"""Extensions of camera raw files."""

_LIVE_SUFFIXES = frozenset({"mov", "mp4"})
_HEIC_SUFFIXES, _JPEG_SUFFIXES = frozenset({"heic", "heif"}), frozenset({"jpg", "jpeg"})

_COMPANIONS = RAW_SUFFIXES | _LIVE_SUFFIXES | _HEIC_SUFFIXES | _JPEG_SUFFIXES
_FOLDERS = 256  # listings in memory

GONE = "its file no longer exists"
CHANGED = "its file has changed since it was added; add it again"


@dataclass(frozen=True, slots=True)
class Original:
    """The file of a stored image at one moment.

    Attributes:
        path: Path of the file; empty if the image has none on this machine.
        reason: Why the file can neither stay in place of another one nor be spare; empty if it can.
        inode: Device and inode; equal for all names of one file.
        state: Changes when the file is replaced or modified: device, inode, size and times.
        links: Number of names (hard links) of the file.
    """

    path: str = ""
    reason: str = "it was added as data, without a file"
    inode: tuple[int, int] = (0, 0)
    state: str = ""
    links: int = 1

    def is_same_file(self, other: Original) -> bool:
        """Whether both are names of one file, also if it is mounted twice."""
        if not (self.state and other.state):
            return bool(self.path) and self.path == other.path
        if self.inode[1]:
            return self.inode == other.inode or self.state.partition(":")[2] == other.state.partition(":")[2]
        return os.path.normcase(os.path.realpath(self.path)) == os.path.normcase(os.path.realpath(other.path))


def locate(record: ImageRecord) -> Original:
    """The file of an image, by its location and status; nothing is read."""
    if not record.uri:
        return Original()
    if record.uri.startswith("archive:"):
        return Original(reason="it is inside an archive")
    if page_of(record.uri) > 1:
        return Original(reason="it is a page of a file")
    path = (local_path(record.uri.replace("file://localhost/", "file:///", 1)) or "") if _is_file(record) else ""
    if not os.path.isabs(path):
        return Original(reason="it was not added from a file on this machine")
    try:
        is_link, status = stat.S_ISLNK(os.lstat(path).st_mode), os.stat(path)
    except PermissionError:
        return Original(path, "its file cannot be read: permission denied")
    except (OSError, ValueError):
        return Original(path, GONE)
    return Original(
        path, _reason(record, status, is_link=is_link), _inode(status), _state(status), status.st_nlink
    )


def _is_file(record: ImageRecord) -> bool:
    return record.uri.startswith("file:")


def _reason(record: ImageRecord, status: os.stat_result, *, is_link: bool) -> str:
    if is_link:
        return "it is a symbolic link"
    if not stat.S_ISREG(status.st_mode):
        return "it is not a regular file any more"
    if status.st_size != record.size_bytes:
        return CHANGED
    if not record.sha256:
        return "it was imported without a hash of its file"
    if record.format in RAW_FORMATS or suffix(record.uri) in RAW_SUFFIXES:
        return "it is a camera raw file, of which only the preview was compared"
    return ""


def _inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _state(status: os.stat_result) -> str:
    numbers = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return ":".join(map(str, numbers))


def suffix(name: str) -> str:
    """The extension of a path or URI in lower case, without the dot."""
    return PurePath(name).suffix[1:].lower()


@dataclass(frozen=True, slots=True)
class Examined:
    """The result of reading an original.

    Attributes:
        reason: Why it cannot be used; empty if its bytes are those that were added.
        depth: What it shows; ``None`` if only its bytes were read, or it cannot be decoded completely.
    """

    reason: str = ""
    depth: FullDepth | None = None


class Originals:
    """Reads and examines original files, each once; safe to use from several threads."""

    def __init__(self, decoder: Decoder, settings: Settings) -> None:
        """Create a reader.

        Args:
            decoder: Decodes files, which are not trusted.
            settings: ``max_local_bytes`` and ``max_local_pixels`` are used.
        """
        self._decoder = decoder
        self._settings = settings
        self._read: dict[tuple[str, str], str] = {}
        self._examined: dict[tuple[str, str], Examined] = {}
        self._folders: dict[str, dict[str, set[str]]] = {}

    def check(self, sha256: str, original: Original) -> str:
        """Read a file: why it cannot be used, or nothing if its bytes have this hash."""
        if original.reason:
            return original.reason
        key = original.state, sha256
        if key in self._examined:
            return self._examined[key].reason
        if key not in self._read:
            self._read[key] = _bytes(sha256, original, self._settings.max_local_bytes)[1]
        return self._read[key]

    def examine(self, sha256: str, original: Original) -> Examined:
        """Read and decode a file completely, if its bytes have this hash."""
        if original.reason:
            return Examined(original.reason)
        key = original.state, sha256
        if key not in self._examined:
            self._examined[key] = self._decoded(sha256, original)
        return self._examined[key]

    def companion(self, original: Original) -> str:
        """Why a file belongs together with another one of the same name; empty if it does not."""
        folder, name = os.path.split(original.path)
        stem, own = os.path.splitext(name)[0].lower(), suffix(name)
        others = self._siblings(folder).get(stem, set()) - {own}
        if others & RAW_SUFFIXES:
            return "a camera raw file of the same name is next to it"
        if own in _HEIC_SUFFIXES | _JPEG_SUFFIXES and others & _LIVE_SUFFIXES:
            return "a video of the same name is next to it (Live Photo)"
        if (own in _HEIC_SUFFIXES and others & _JPEG_SUFFIXES) or (
            own in _JPEG_SUFFIXES and others & _HEIC_SUFFIXES
        ):
            return "a HEIC and a JPEG of the same name are next to each other"
        return ""

    def _decoded(self, sha256: str, original: Original) -> Examined:
        data, reason = _bytes(sha256, original, self._settings.max_local_bytes)
        if reason:
            return Examined(reason)
        limits = {"max_bytes": self._settings.max_local_bytes, "max_pixels": self._settings.max_local_pixels}
        try:
            depth = self._decoder.examine(data, **limits)
        except ImageError:
            return Examined()
        return Examined(depth=depth if depth.digest else None)

    def _siblings(self, folder: str) -> dict[str, set[str]]:
        """File name without extension -> extensions in this folder that belong to one shot, in lower case."""
        if folder not in self._folders:
            if len(self._folders) >= _FOLDERS:
                self._folders.clear()
            found: dict[str, set[str]] = {}
            with contextlib.suppress(OSError):
                for name in os.listdir(folder):
                    kind = suffix(name)
                    if kind in _COMPANIONS:
                        found.setdefault(os.path.splitext(name)[0].lower(), set()).add(kind)
            self._folders[folder] = found
        return self._folders[folder]


def _bytes(sha256: str, original: Original, max_bytes: int) -> tuple[bytes, str]:
    """The bytes of a file, or why they cannot be used."""
    try:
        data = read_file(original.path, max_bytes)
    except ImagefinderError:
        return b"", "its file cannot be read"
    return (data, "") if hashlib.sha256(data).hexdigest() == sha256 else (b"", CHANGED)
