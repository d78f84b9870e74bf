"""Find the images in files, folders, archives, lists and URLs."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from imagefinder.core.addresses import is_web_address
from imagefinder.core.errors import SourceError
from imagefinder.core.records import Failure
from imagefinder.indexing.archives import check_archive, read_archive
from imagefinder.indexing.guard import TRUSTED, Guard
from imagefinder.indexing.lists import check_list, read_list
from imagefinder.indexing.source_item import (
    Discovered,
    SourceEnd,
    SourceItem,
    file_item,
    file_uri,
    is_hidden,
    is_image_name,
    name_to_text,
)
from imagefinder.indexing.suffixes import ARCHIVE_SUFFIXES, LIST_SUFFIXES
from imagefinder.indexing.unicode_paths import existing_path

_UNPACK = "unpack it and add the folder"
_TABLE = "export it as .csv or .jsonl with the columns url and id"
_REFUSED = {
    (".tar.zst", ".tzst"): ("a Zstandard archive", f"{_UNPACK}, or unpack it with zstd -d and add the .tar file"),
    (".7z", ".rar", ".cab", ".iso", ".dmg", ".cbr", ".lzh"): ("an archive of an unsupported format", _UNPACK),
    (".gz", ".bz2", ".xz", ".zst", ".lz", ".lz4", ".z", ".lzma", ".br"): ("a compressed file", "unpack it first"),
    (".xlsx", ".xls", ".ods", ".numbers"): ("a spreadsheet", _TABLE),
    (".parquet", ".feather", ".arrow", ".sqlite", ".db"): ("a table of an unsupported format", _TABLE),
    (".json",): ("a JSON document", "write one object per line to a .jsonl file: jq -c '.[]' FILE > list.jsonl"),
    (".txt", ".xml", ".yaml", ".yml"): ("a text file", "a list is a .csv or .jsonl file with url and id"),
}
"""Extensions of files that contain images or lists but cannot be read -> what they are, and what to do."""

# ruff: noqa: PTH100, PTH111, PTH116, PTH119, PTH123 - names may be any bytes, and Path is slow for a million files

Source = str | os.PathLike[str]


def discover(
    sources: Sequence[Source], *, guard: Guard = TRUSTED, zip_encoding: str = "auto"
) -> Iterator[Discovered]:
    """Yield the images of the sources in order; nothing is read in advance.

    A source is a file, a folder (read recursively, sorted by name), an archive (``.zip``, ``.tar`` or compressed
    ``.tar``), a list (``.csv``, ``.tsv``, ``.jsonl`` or ``.ndjson`` with ``url`` and ``id``) or an ``http(s)``
    URL. The id of an image is the file name; in folders and archives the path relative to them, with ``/``; in
    lists the column ``id``; for a URL the URL. Folders and archives contribute only files with an image extension
    that are not hidden; a file given as a source itself may have any name, except those of other archives, lists
    and documents, which are rejected.

    Args:
        sources: Paths or URLs; ``~`` is the home folder.
        guard: Access limits; links that point outside are skipped.
        zip_encoding: Encoding of names in zip archives not marked as UTF-8; ``auto``: detected.

    Returns:
        Items, failures for unreadable files, and a ``SourceEnd`` after each folder, archive and list.

    Raises:
        SourceError: a source does not exist or cannot be opened. All sources are checked before the first item.
    """
    checked = [_check(source, guard) for source in sources]
    return (item for source in checked for item in _read(source, guard, zip_encoding))


def source_uris(sources: Sequence[Source]) -> list[str]:
    """The ``source`` URIs of the folders, archives and lists among the sources.

    Raises:
        SourceError: a source does not exist or cannot be opened.
    """
    checked = [_check(source, TRUSTED) for source in sources]
    return [file_uri(source.location) for source in checked if source.kind not in ("url", "file")]


class _CheckedSource(NamedTuple):
    kind: str
    location: str


def _check(source: Source, guard: Guard) -> _CheckedSource:
    text = os.fspath(source)
    if is_web_address(text):
        if text.lower().endswith((*ARCHIVE_SUFFIXES, *LIST_SUFFIXES, *itertools.chain(*_REFUSED))):
            raise SourceError(
                f"{text} is a remote archive or list; only images can be added by URL",
                hint="download it first, then add the file",
            )
        if not text.isprintable():
            raise SourceError(f"{text!a} is not a valid URL: it contains control characters")
        return _CheckedSource("url", text)
    path = existing_path(os.path.abspath(os.path.expanduser(text)))
    guard.check(path)
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            os.scandir(path).close()
            return _CheckedSource("folder", path)
        if stat.S_ISREG(mode):
            open(path, "rb").close()
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        reason = error.strerror if isinstance(error, OSError) else "not a valid path"
        name = name_to_text(text)
        raise SourceError(
            f"{name} does not exist" if missing else f"{name} cannot be read: {reason}",
            hint="a source is an image, a folder, an archive, a list (.csv, .tsv, .jsonl, .ndjson) or a URL",
        ) from error
    if not stat.S_ISREG(mode):
        raise SourceError(f"{name_to_text(text)} is neither a regular file nor a folder")
    if path.lower().endswith(ARCHIVE_SUFFIXES):
        check_archive(path)
        return _CheckedSource("archive", path)
    if path.lower().endswith(LIST_SUFFIXES):
        check_list(path)
        return _CheckedSource("list", path)
    for endings, (kind, hint) in _REFUSED.items():
        if path.lower().endswith(endings):
            raise SourceError(f"{name_to_text(text)} is {kind}, which cannot be read as a source", hint=hint)
    return _CheckedSource("file", path)


def _read(source: _CheckedSource, guard: Guard, zip_encoding: str) -> Iterator[Discovered]:
    match source.kind:
        case "url":
            yield SourceItem(id=source.location, uri=source.location)
        case "folder":
            yield from _walk(source.location, guard)
        case "archive":
            yield from read_archive(source.location, zip_encoding=zip_encoding)
        case "list":
            yield from read_list(source.location, guard=guard)
        case _:
            item = _file(source.location, name_to_text(os.path.basename(source.location)), "", guard)
            if item is not None:
                yield item


def _walk(root: str, guard: Guard) -> Iterator[Discovered]:
    """Yield the images in a folder and its subfolders.

    Each folder is entered once, however many links point to it. Links to folders inside the root are not followed,
    so that each image has one id. Only the names of the current folder and its parents are kept in memory.
    """
    source, prefix = file_uri(root), root.rstrip(os.sep) + os.sep
    inside = os.path.realpath(root).rstrip(os.sep) + os.sep
    complete, found, skipped = True, 0, 0
    entered: set[tuple[int, int]] = set()
    escaped: set[str] = set()
    stack = [iter([_Name(root, folder=True, link=False)])]
    while stack:
        name = next(stack[-1], None)
        if name is None:
            stack.pop()
        elif name.folder:
            if name.link and (os.path.realpath(name.path) + os.sep).startswith(inside):
                continue
            if name.link and not guard.allows(name.path):
                skipped += 1
                continue
            try:
                status = os.stat(name.path)
                if (status.st_dev, status.st_ino) not in entered:
                    entered.add((status.st_dev, status.st_ino))
                    stack.append(iter(_names(name.path)))
            except OSError as error:
                complete = False
                yield Failure(
                    name_to_text(name.path.removeprefix(prefix)) + "/",
                    file_uri(name.path),
                    SourceError.code,
                    f"the folder {name_to_text(name.path)} cannot be read: {error.strerror}",
                    source=source,
                )
        elif not is_image_name(name.path) or (name.link and not guard.allows(name.path)):
            skipped += 1
        else:
            item = _file(name.path, name_to_text(name.path[len(prefix) :]), source, guard)
            if item is None:
                skipped += 1
            elif isinstance(item, SourceItem) and "\\" in item.id and item.id in escaped:
                # The bytes \xff in one name and the characters "\\xff" in another give the same id.
                message = f"the id {item.id!r} is already used by another file in this folder; rename one of them"
                yield Failure(item.uri, item.uri, SourceError.code, message, source=source)
            else:
                if "\\" in item.id:
                    escaped.add(item.id)
                found += isinstance(item, SourceItem)
                yield item
    yield SourceEnd(source, complete, found, skipped)


class _Name(NamedTuple):
    path: str
    folder: bool
    link: bool


def _names(folder: str) -> list[_Name]:
    """The visible entries of a folder, sorted by the bytes of their names."""
    with os.scandir(folder) as entries:
        names = [_Name(e.path, _is_folder(e), e.is_symlink()) for e in entries if not is_hidden(e.name)]
    return sorted(names, key=lambda name: os.fsencode(name.path))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _file(path: str, image_id: str, source: str, guard: Guard) -> SourceItem | Failure | None:
    """Create the item of a file; ``None`` if it is not a regular file."""
    try:
        status = os.stat(path)
    except OSError as error:
        message = f"{name_to_text(path)} cannot be read: {error.strerror}"
        return Failure(image_id, file_uri(path), SourceError.code, message, source=source)
    return file_item(path, status, image_id, source, guard=guard) if stat.S_ISREG(status.st_mode) else None
