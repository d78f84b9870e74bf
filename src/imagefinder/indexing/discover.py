"""What is in the sources that a user names, one item after the other."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from imagefinder.core.addresses import is_web_address
from imagefinder.core.errors import SourceError
from imagefinder.core.records import Failure
from imagefinder.indexing.archives import ARCHIVE_SUFFIXES, check_archive, read_archive
from imagefinder.indexing.guard import TRUSTED, Guard
from imagefinder.indexing.lists import LIST_SUFFIXES, check_list, read_list
from imagefinder.indexing.source_item import (
    Discovered,
    SourceEnd,
    SourceItem,
    file_item,
    file_uri,
    is_hidden,
    is_picture,
    readable,
)

# ruff: noqa: PTH100, PTH111, PTH116, PTH119, PTH123 - names may be any bytes, and a million should not take long

Source = str | os.PathLike[str]


def discover(sources: Sequence[Source], *, guard: Guard = TRUSTED) -> Iterator[Discovered]:
    """Everything in the sources, in their order; nothing is read in advance.

    A source is a file, a folder (read recursively, in order of names), an archive (``.zip``, ``.tar`` and
    compressed ``.tar``), a list (``.csv`` or ``.jsonl`` with ``url`` and ``id``) or an ``http(s)`` URL. Ids are:
    for a file its name; in folders and archives the path below them, with ``/``; in lists the column ``id``; for
    a URL itself. A file named by itself is tried whatever its name; in folders and archives only names of
    pictures are taken, and what is hidden is not.

    Args:
        sources: What to look through; ``~`` stands for the home folder.
        guard: What may be reached; links that lead beyond it are passed over.

    Returns:
        Items; for what cannot be read, failures; after each folder, archive and list its ``SourceEnd``.

    Raises:
        SourceError: a source does not exist, or its beginning cannot be read; nothing was looked through.
    """
    plan = [_look_at(source, guard) for source in sources]
    return (item for source in plan for item in _read(source, guard))


def source_uris(sources: Sequence[Source]) -> list[str]:
    """The URIs under which the folders, archives and lists among the sources appear as ``source``.

    Raises:
        SourceError: as ``discover``.
    """
    plan = [_look_at(source, TRUSTED) for source in sources]
    return [file_uri(source.place) for source in plan if source.kind not in ("url", "file")]


class _Plan(NamedTuple):
    kind: str
    place: str


def _look_at(source: Source, guard: Guard) -> _Plan:
    text = os.fspath(source)
    if is_web_address(text):
        if text.lower().endswith((*ARCHIVE_SUFFIXES, *LIST_SUFFIXES)):
            raise SourceError(
                f"{text} is an archive or a list on a server, and only pictures are downloaded",
                hint="download it first, then add the file",
            )
        if not text.isprintable():
            raise SourceError(f"{text!a} is no usable address")
        return _Plan("url", text)
    path = os.path.abspath(os.path.expanduser(text))
    guard.check(path)
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            os.scandir(path).close()
            return _Plan("folder", path)
        if stat.S_ISREG(mode):
            open(path, "rb").close()
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SourceError(
            f"there is no file or folder {readable(text)}"
            if missing
            else f"{readable(text)} cannot be read: {reason}",
            hint="a source is a file, a folder, an archive, a .csv or .jsonl list, or an http(s) URL",
        ) from error
    if not stat.S_ISREG(mode):
        raise SourceError(f"{readable(text)} is neither a file nor a folder")
    if path.lower().endswith(ARCHIVE_SUFFIXES):
        check_archive(path)
        return _Plan("archive", path)
    if path.lower().endswith(LIST_SUFFIXES):
        check_list(path)
        return _Plan("list", path)
    return _Plan("file", path)


def _read(plan: _Plan, guard: Guard) -> Iterator[Discovered]:
    match plan.kind:
        case "url":
            yield SourceItem(id=plan.place, uri=plan.place)
        case "folder":
            yield from _walk(plan.place, guard)
        case "archive":
            yield from read_archive(plan.place)
        case "list":
            yield from read_list(plan.place, guard=guard)
        case _:
            item = _file(plan.place, readable(os.path.basename(plan.place)), "", guard)
            if item is not None:
                yield item


def _walk(root: str, guard: Guard) -> Iterator[Discovered]:
    """The pictures in and below a folder.

    Every folder is entered once, whatever links lead to it. Links to folders inside the root are not followed,
    so that what lies inside has one id. Only the names of one folder and of those above it are held at a time.
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
                    readable(name.path.removeprefix(prefix)) + "/",
                    file_uri(name.path),
                    SourceError.code,
                    f"the folder {readable(name.path)} cannot be read: {error.strerror}",
                    source=source,
                )
        elif not is_picture(name.path) or (name.link and not guard.allows(name.path)):
            skipped += 1
        else:
            item = _file(name.path, readable(name.path[len(prefix) :]), source, guard)
            if item is None:
                skipped += 1
            elif isinstance(item, SourceItem) and "\\" in item.id and item.id in escaped:
                # A name with bytes \xff and one with the letters "\\xff".
                message = f"the id {item.id!r} already stands for another file of this folder; rename one"
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
    """What a folder holds and shows, in order of the bytes of the names."""
    with os.scandir(folder) as entries:
        names = [_Name(e.path, _is_folder(e), e.is_symlink()) for e in entries if not is_hidden(e.name)]
    return sorted(names, key=lambda name: os.fsencode(name.path))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _file(path: str, image_id: str, source: str, guard: Guard) -> SourceItem | Failure | None:
    """The item for a file; ``None`` for what is no regular one."""
    try:
        status = os.stat(path)
    except OSError as error:
        message = f"{readable(path)} cannot be read: {error.strerror}"
        return Failure(image_id, file_uri(path), SourceError.code, message, source=source)
    return file_item(path, status, image_id, source, guard=guard) if stat.S_ISREG(status.st_mode) else None
