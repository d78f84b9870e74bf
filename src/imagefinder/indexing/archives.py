"""Read images from archives one by one, without unpacking the archive to disk."""

from __future__ import annotations

import lzma
import posixpath
import stat
import struct
import tarfile
import threading
import weakref
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

from imagefinder.core.errors import SourceError
from imagefinder.core.records import Failure
from imagefinder.images.decoding.unsupported_formats import identify_unsupported
from imagefinder.indexing.source_item import (
    Discovered,
    SourceEnd,
    SourceItem,
    check_size,
    file_uri,
    is_hidden,
    is_image_name,
    local_path,
    name_to_text,
)
from imagefinder.indexing.zip_names import member_name

# Exceptions of the standard library on damaged, encrypted, malicious or unsupported archives.
_ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
)


def check_archive(path: str) -> None:
    """Check that a file can be opened as an archive.

    Raises:
        SourceError: the file cannot be read or is not an archive.
    """
    try:
        if _is_zip(path):
            zipfile.ZipFile(path).close()
        else:
            _open_tar(path).close()
    except _ARCHIVE_ERRORS as error:
        kind = _kind(path)
        reason = f"it is a file of another format ({kind})" if kind else _reason(error)
        raise SourceError(
            f"{name_to_text(path)} cannot be read as an archive: {reason}",
            hint="supported archives: zip, tar, tar.gz, tar.bz2 and tar.xz",
        ) from error


def read_archive(path: str, *, zip_encoding: str = "auto") -> Iterator[Discovered]:
    """Yield the images of an archive in its order, then a ``SourceEnd``.

    Ids are the member names without a leading ``/`` or ``..``. Folders, links, devices and hidden files are
    skipped. A repeated id, a very long name, and damage to the archive, become a ``Failure``.

    Args:
        path: The archive.
        zip_encoding: Encoding of names in a zip archive that are not marked as UTF-8; ``auto``: detected.
    """
    source, name = file_uri(path), name_to_text(Path(path).name)
    seen: dict[str, str] = {}
    complete, skipped, found = True, 0, 0
    try:
        for member, item in _zip(path, source, zip_encoding) if _is_zip(path) else _tar(path, source):
            if any(map(is_hidden, item.id.split("/"))):
                continue
            if not member or not is_image_name(item.id):
                skipped += 1
            elif item.id in seen:
                message = f"{name} contains {item.id!r} more than once; only the first is added"
                if item.uri != seen[item.id]:
                    message = f"the id {item.id!r} is that of an earlier member of {name}; only the first is added"
                yield Failure(item.uri, item.uri, SourceError.code, message, source=source)
            else:
                seen[item.id] = item.uri
                found += 1
                yield item
    except _ARCHIVE_ERRORS as error:
        complete = False
        yield Failure(
            name, source, SourceError.code, f"{name} is damaged or truncated: {_reason(error)}", source=source
        )
    yield SourceEnd(source, complete, found, skipped)


def zip_member(uri: str, *, zip_encoding: str = "auto") -> SourceItem | None:
    """The item of one member of a zip archive; ``None`` if the archive or the member cannot be found.

    Args:
        uri: The ``archive:`` URI of the item, without a page.
        zip_encoding: As for ``read_archive``.
    """
    path = local_path(uri)
    if path is None or not uri.startswith("archive:") or not _is_zip(path):
        return None
    source = uri.removeprefix("archive:").partition("!/")[0]
    try:
        return next(
            (item for regular, item in _zip(path, source, zip_encoding) if regular and item.uri == uri), None
        )
    except _ARCHIVE_ERRORS:
        return None


def _zip(path: str, source: str, encoding: str) -> Iterator[tuple[bool, SourceItem]]:
    """Yield all members except folders: whether each is a regular file, and its item."""
    archive = _Zip(path)
    for info in archive.members():
        name = member_name(info, encoding)
        if not name.endswith("/"):  # ZipInfo.is_dir() fails on an empty name
            regular = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
            yield (
                regular,
                SourceItem(
                    id=_member_id(name),
                    uri=_member_uri(source, name),
                    source=source,
                    stamp=f"{info.file_size}:{info.CRC:08x}",
                    read=partial(archive.read, info, name),
                ),
            )


def _tar(path: str, source: str) -> Iterator[tuple[bool, SourceItem]]:
    """Yield all members except folders, like ``_zip``; the images are read in a second pass over the archive."""
    archive = _Tar(path)
    with _open_tar(path) as tar:
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep all of them in memory
            if not member.isdir():
                yield (
                    member.isreg(),
                    SourceItem(
                        id=_member_id(member.name),
                        uri=_member_uri(source, member.name),
                        source=source,
                        stamp=f"{member.size}:{member.mtime}",
                        read=partial(archive.read, member.offset, member.size, member.name),
                        in_order=True,
                    ),
                )


class _Zip:
    """An open zip archive; it is closed when the last item that refers to it is garbage collected."""

    def __init__(self, path: str) -> None:
        self._name = name_to_text(Path(path).name)
        self._zip = zipfile.ZipFile(path)
        self._lock = threading.Lock()
        weakref.finalize(self, self._zip.close)

    def members(self) -> list[zipfile.ZipInfo]:
        return self._zip.infolist()

    def read(self, info: zipfile.ZipInfo, member: str, max_bytes: int) -> bytes:
        name = f"{member} in {self._name}"
        if info.flag_bits & 0x1:
            raise SourceError(f"{name} is encrypted", hint="unpack the archive and add the folder")
        check_size(name, info.file_size, max_bytes)
        try:
            with self._lock, self._zip.open(info) as file:
                # Never read more than the declared size, which was checked.
                return file.read(info.file_size)
        except _ARCHIVE_ERRORS as error:
            raise SourceError(f"{name} cannot be unpacked: {_reason(error)}") from error


class _Tar:
    """Reads members of a tar archive sequentially; reading an earlier member restarts from the beginning."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._tar: tarfile.TarFile | None = None
        self._position = 0
        self._close = weakref.finalize(self, lambda: None)

    def read(self, offset: int, size: int, name: str, max_bytes: int) -> bytes:
        label = f"{_text(name)} in {name_to_text(Path(self._path).name)}"
        check_size(label, size, max_bytes)
        try:
            with self._lock:
                return self._member(offset)
        except _ARCHIVE_ERRORS as error:
            raise SourceError(f"{label} cannot be unpacked: {_reason(error)}") from error

    def _member(self, offset: int) -> bytes:
        if self._tar is None or offset < self._position:
            self._close()
            self._tar = _open_tar(self._path)
            self._close = weakref.finalize(self, self._tar.close)
        while (member := self._tar.next()) is not None:
            self._tar.members.clear()  # type: ignore[attr-defined]  # as in _tar
            self._position = member.offset + 1
            if member.offset == offset:
                file = self._tar.extractfile(member)
                return file.read() if file else b""
        raise EOFError("the archive has changed")


class _Member(tarfile.TarInfo):
    """A header that raises an error if it is damaged; tarfile would treat it as the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Member:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the regular end of the archive
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


def _open_tar(path: str) -> tarfile.TarFile:
    # Not the encoding of this machine: the names of an archive do not depend on where it is read.
    return tarfile.open(path, "r|*", tarinfo=_Member, encoding="utf-8", errors="surrogateescape")


def _kind(path: str) -> str:
    """The format of a file that is not an archive, such as a saved web page; empty if unknown."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - Path would normalise some names
            found = identify_unsupported(file.read(8192))
    except OSError:
        return ""
    return found.name if found and found.name not in ("archive", "compressed file") else ""


def _is_zip(path: str) -> bool:
    return path.lower().endswith(".zip")


def _member_id(name: str) -> str:
    return _text(posixpath.normpath("/" + name)).lstrip("/")


def _member_uri(source: str, name: str) -> str:
    return f"archive:{source}!/{quote(name.encode('utf-8', 'surrogateescape'))}"


def _text(name: str) -> str:
    r"""A member name as text; in tar archives, bytes that are not valid UTF-8 become ``\xNN``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"a name in it is marked as UTF-8 and is not ({error.object!r:.100}); pack it again, or unpack it"
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return reason or type(error).__name__
