"""Read lists of images: ``.csv``, ``.tsv``, ``.jsonl`` and ``.ndjson`` files with ``url`` and ``id``."""

from __future__ import annotations

import codecs
import csv
import itertools
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from imagefinder.core.addresses import is_web_address
from imagefinder.core.errors import MetadataError, SourceError
from imagefinder.core.metadata import check_metadata
from imagefinder.core.records import Failure
from imagefinder.indexing.guard import TRUSTED, Guard
from imagefinder.indexing.source_item import (
    Discovered,
    SourceEnd,
    SourceItem,
    file_item,
    file_uri,
    local_path,
    name_to_text,
)
from imagefinder.indexing.suffixes import TABLE_SUFFIXES
from imagefinder.indexing.unicode_paths import existing_path

_DELIMITERS = ",;\t"

_MAX_LINE = 1 << 20  # characters


class _RowError(Exception):
    """An invalid row.

    Attributes:
        image_id: The id of the row, or empty text.
        missing_id: Whether the row contains no usable id.
    """

    def __init__(self, message: str, image_id: str = "", *, missing_id: bool = False) -> None:
        super().__init__(message)
        self.image_id = image_id
        self.missing_id = missing_id


def check_list(path: str) -> None:
    """Check the beginning of a list.

    Raises:
        SourceError: the file cannot be read or lacks the columns ``url`` and ``id``.
    """
    try:
        with _open(path) as file:
            next(_rows(path, file), None)
    except OSError as error:
        raise SourceError(f"{name_to_text(path)} cannot be read: {error.strerror}") from error
    except UnicodeError as error:
        raise SourceError(
            f"{name_to_text(path)} is not UTF-8 text: {error}",
            hint="save the list in the encoding UTF-8, or UTF-16 with a byte order mark",
        ) from error


def read_list(path: str, *, guard: Guard = TRUSTED) -> Iterator[Discovered]:
    """Yield the images of a list in its order, then a ``SourceEnd``.

    An invalid row becomes a ``Failure`` that names the file and line, and so does an error that ends the list
    early.

    Args:
        path: The list.
        guard: Access limits. They decide whether a ``url`` may be a path (or ``file:`` URI) in or below the folder
            of the list: an untrusted list must not make a server read its own files.
    """
    source, name = file_uri(path), name_to_text(Path(path).name)
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
                    # Without an id it is unknown which image of the list this was.
                    complete = complete and not error.missing_id
                    where = f"{name} line {line}"
                    yield Failure(
                        error.image_id or where, source, SourceError.code, f"{where}: {error}", source=source
                    )
    except (OSError, SourceError, UnicodeError) as error:
        complete = False
        if isinstance(error, SourceError):
            reason = error.message
        else:
            reason = f"{name} cannot be read after line {line}: {error}"
        yield Failure(name, source, SourceError.code, reason, source=source)
    yield SourceEnd(source, complete, found, 0)


def _open(path: str) -> TextIO:
    with open(path, "rb") as file:  # noqa: PTH123 - Path would normalise some names
        mark = file.read(2)
    encoding = "utf-16" if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    return open(path, encoding=encoding, newline="")  # noqa: PTH123 - as above


def _rows(path: str, file: TextIO) -> Iterator[tuple[int, Any]]:
    """Yield the line number and content of each row; the content of a valid row is a dictionary."""
    return _csv_rows(path, file) if path.lower().endswith(TABLE_SUFFIXES) else _jsonl_rows(path, file)


def _csv_rows(path: str, file: TextIO) -> Iterator[tuple[int, Any]]:
    lines = _lines(path, file)
    first = next(lines, "")
    # Spreadsheets separate by semicolons where the comma is the decimal point.
    delimiter = max(_DELIMITERS, key=lambda character: _columns(first, character))
    reader = csv.DictReader(itertools.chain([first], lines) if first else [], strict=True, delimiter=delimiter)
    try:
        columns = [column.strip() for column in reader.fieldnames or ()]
        reader.fieldnames = columns
        missing = [column for column in ("url", "id") if column not in columns]
        if missing:
            raise SourceError(
                f"{name_to_text(path)} has no column {' and no column '.join(missing)}; "
                f"its first line contains: {', '.join(columns)[:200] or 'nothing'}",
                hint="separate values by commas, semicolons or tabs, and name the columns url and id in line 1",
            )
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise SourceError(f"{name_to_text(path)} line {reader.line_num} is not valid CSV: {error}") from error


def _columns(line: str, delimiter: str) -> int:
    """How many of the columns ``url`` and ``id`` the first line has with a delimiter."""
    try:
        names = {name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])}
    except csv.Error:
        return 0
    return len(names & {"url", "id"})


def _jsonl_rows(path: str, file: TextIO) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(_lines(path, file), start=1):
        if line.strip():
            try:
                row = json.loads(line)
                # Reject infinities and unpaired surrogates, which could not be sent in a response.
                json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
            except (ValueError, RecursionError):
                row = None
            yield number, row


def _lines(path: str, file: TextIO) -> Iterator[str]:
    while line := file.readline(_MAX_LINE):
        if len(line) == _MAX_LINE:
            raise SourceError(f"{name_to_text(path)} has a line of more than {_MAX_LINE:,} characters")
        yield line


def _image_id(row: Any, lines: dict[str, int]) -> str:
    if not isinstance(row, dict):
        raise _RowError("not a valid JSON object", missing_id=True)
    value = row.get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        empty = value is None or isinstance(value, str)
        raise _RowError("the id is empty" if empty else "the id is not text", missing_id=True)
    image_id = value.strip()
    if image_id in lines:
        raise _RowError(f"the id {image_id!r} was already used in line {lines[image_id]}")
    return image_id


def _item(path: str, source: str, image_id: str, row: dict[Any, Any], guard: Guard) -> SourceItem:
    if None in row:
        raise _RowError("the row has more fields than the first line has columns", image_id)
    url = row.get("url")
    if not isinstance(url, str) or not url.strip():
        raise _RowError("the url is empty", image_id)
    url = url.strip()
    metadata = {key: value for key, value in row.items() if key not in ("url", "id") and value is not None}
    try:
        check_metadata(metadata)
    except MetadataError as error:
        raise _RowError(error.message, image_id) from None
    if is_web_address(url):
        return SourceItem(image_id, url, source, metadata=metadata)
    target = local_path(url)
    if target is None and "://" in url:
        raise _RowError(f"{url[:200]!r} is neither an http(s) URL nor a path", image_id)
    if not guard.local_files:
        raise _RowError(f"{url[:200]!r} is a local path; only URLs are allowed here", image_id)
    # Resolve links first: a link must not point outside the folder of the list.
    folder = os.path.realpath(Path(path).parent)
    try:
        target = os.path.realpath(existing_path(str(Path(folder, target or url))))
        if not target.startswith(folder.rstrip(os.sep) + os.sep):
            raise _RowError(f"{url[:200]!r} is not a path below the folder of the list", image_id)
        if not guard.allows(target):
            raise _RowError(f"{url[:200]!r} is outside the allowed folders", image_id)
        status = Path(target).stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a valid path"
        raise _RowError(f"{url[:200]!r} cannot be read: {reason}", image_id) from None
    if not stat.S_ISREG(status.st_mode):
        raise _RowError(f"{url[:200]!r} is not a regular file", image_id)
    return file_item(target, status, image_id, source, metadata, guard=guard)
