"""Lists of pictures: ``.csv`` and ``.jsonl`` files with ``url`` and ``id``."""

from __future__ import annotations

import csv
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from imagefinder.core.addresses import is_web_address
from imagefinder.core.errors import SourceError
from imagefinder.core.records import Failure
from imagefinder.indexing.guard import TRUSTED, Guard
from imagefinder.indexing.source_item import (
    Discovered,
    SourceEnd,
    SourceItem,
    file_item,
    file_uri,
    local_path,
    readable,
)

LIST_SUFFIXES = (".csv", ".jsonl")

_LONGEST_LINE = 1 << 20  # characters; what is longer is no list of URLs


class _RowError(Exception):
    """A row that names no usable picture: the id it would have, and whether the row has none at all."""

    def __init__(self, message: str, image_id: str = "", *, nameless: bool = False) -> None:
        super().__init__(message)
        self.image_id = image_id
        self.nameless = nameless


def check_list(path: str) -> None:
    """Look at the beginning of a list.

    Raises:
        SourceError: it cannot be read, or has not the columns ``url`` and ``id``.
    """
    try:
        with _open(path) as file:
            next(_rows(path, file), None)
    except OSError as error:
        raise SourceError(f"{readable(path)} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{readable(path)} is not UTF-8 text: {error}") from error


def read_list(path: str, *, guard: Guard = TRUSTED) -> Iterator[Discovered]:
    """The pictures of a list in its order, then one ``SourceEnd``.

    A row that cannot be used becomes a ``Failure`` that names file and line, and so does what ends the reading
    early.

    Args:
        path: The list.
        guard: Whether a ``url`` may be a path (or ``file:`` URI) in or below the list's own folder. A list of a
            stranger must not make a server read its own files.
    """
    source, name = file_uri(path), readable(Path(path).name)
    lines: dict[str, int] = {}
    complete, found, line = True, 0, 0
    try:
        with _open(path) as file:
            for line, row in _rows(path, file):
                try:
                    image_id = _image_id(row, lines)
                    lines[image_id] = line
                    item = _item(path, source, image_id, row, guard)
                    found += 1
                    yield item
                except _RowError as error:
                    # Without its id it is unknown whether the list still has that image.
                    complete = complete and not error.nameless
                    where = f"{name} line {line}"
                    yield Failure(
                        error.image_id or where, source, SourceError.code, f"{where}: {error}", source=source
                    )
    except (OSError, SourceError, UnicodeDecodeError) as error:
        complete = False
        if isinstance(error, SourceError):
            reason = error.message
        else:
            reason = f"{name} cannot be read beyond line {line}: {error}"
        yield Failure(name, source, SourceError.code, reason, source=source)
    yield SourceEnd(source, complete, found, 0)


def _open(path: str) -> TextIO:
    return open(path, encoding="utf-8-sig", newline="")  # noqa: PTH123 - Path cannot hold every name


def _rows(path: str, file: TextIO) -> Iterator[tuple[int, Any]]:
    """Line number and content of each row; a dictionary, where the row is a sound one."""
    return _csv_rows(path, file) if path.lower().endswith(".csv") else _jsonl_rows(path, file)


def _csv_rows(path: str, file: TextIO) -> Iterator[tuple[int, Any]]:
    reader = csv.DictReader(_lines(path, file), strict=True)
    try:
        columns = [column.strip() for column in reader.fieldnames or ()]
        reader.fieldnames = columns
        missing = [column for column in ("url", "id") if column not in columns]
        if missing:
            raise SourceError(
                f"{readable(path)} has no column {' and no column '.join(missing)}; "
                f"its first line has: {', '.join(columns)[:200] or 'nothing'}",
                hint="a list is comma-separated, and its first line names the columns, among them url and id",
            )
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise SourceError(f"{readable(path)} line {reader.line_num} is not valid CSV: {error}") from error


def _jsonl_rows(path: str, file: TextIO) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(_lines(path, file), start=1):
        if line.strip():
            try:
                row = json.loads(line)
                # What JSON can spell but no one can send on: infinities, halves of surrogate pairs.
                json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
            except (ValueError, RecursionError):
                row = None
            yield number, row


def _lines(path: str, file: TextIO) -> Iterator[str]:
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise SourceError(f"{readable(path)} has a line of more than {_LONGEST_LINE:,} characters")
        yield line


def _image_id(row: Any, lines: dict[str, int]) -> str:
    if not isinstance(row, dict):
        raise _RowError("not a valid JSON object", nameless=True)
    value = row.get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        empty = value is None or isinstance(value, str)
        raise _RowError("the id is empty" if empty else "the id is no text", nameless=True)
    image_id = value.strip()
    if image_id in lines:
        raise _RowError(f"the id {image_id!r} stands in line {lines[image_id]} already")
    return image_id


def _item(path: str, source: str, image_id: str, row: dict[Any, Any], guard: Guard) -> SourceItem:
    if None in row:
        raise _RowError("more fields than the first line has columns", image_id)
    url = row.get("url")
    if not isinstance(url, str) or not url.strip():
        raise _RowError("the url is empty", image_id)
    url = url.strip()
    metadata = {key: value for key, value in row.items() if key not in ("url", "id") and value is not None}
    if is_web_address(url):
        return SourceItem(image_id, url, source, metadata=metadata)
    target = local_path(url)
    if target is None and "://" in url:
        raise _RowError(f"{url[:200]!r} is neither an http(s) address nor a path", image_id)
    if not guard.local_files:
        raise _RowError(f"{url[:200]!r} is a local path, and these are not allowed here", image_id)
    # Links are followed first: one that leads out of the folder leads out of what the list may name.
    folder = os.path.realpath(Path(path).parent)
    try:
        target = os.path.realpath(Path(folder, target or url))
        if not target.startswith(folder.rstrip(os.sep) + os.sep):
            raise _RowError(f"{url[:200]!r} is not below the folder of the list", image_id)
        if not guard.allows(target):
            raise _RowError(f"{url[:200]!r} is outside of the folders allowed here", image_id)
        status = Path(target).stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _RowError(f"{url[:200]!r} cannot be read: {reason}", image_id) from None
    if not stat.S_ISREG(status.st_mode):
        raise _RowError(f"{url[:200]!r} is no file", image_id)
    return file_item(target, status, image_id, source, metadata, guard=guard)
