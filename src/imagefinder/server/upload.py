"""The body of a request, read without ever holding more of it than its limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from anyio import to_thread
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from imagefinder.core.errors import ImageTooLargeError
from imagefinder.server.errors import Problem, problem_of

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELD = "image"
MAX_PARTS = 16
FORM_OVERHEAD = 1 << 20
"""Bytes a form may have beside the pictures."""

FORM, JSON = "multipart/form-data", "application/json"

IDLE_SECONDS = 30.0
UPLOAD_SECONDS = 300.0

_HOW = 'with curl: -F "image=@picture.jpg"'
_SMALL_JSON = 1 << 16
"""Longer JSON is read in a thread: the event loop would stand still."""

Hold = Callable[[int], None]
"""Told the size of each piece that is kept in memory; raises to refuse it."""


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart form.

    Attributes:
        files: Name and bytes of each file that was wanted, in order.
        texts: Name and text of each text field, in order; empty where none were wanted.
    """

    files: tuple[tuple[str, bytes], ...]
    texts: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[bytes]:
        """The files of a field."""
        return [data for field, data in self.files if field == name]


def content_type(request: Request) -> str:
    """The stated type of the body, without parameters, in small letters; empty if none is stated."""
    stated, _ = parse_options_header(request.headers.get("content-type"))
    return stated.decode("latin-1").lower()


async def read_image(request: Request, *, max_bytes: int, hold: Hold) -> bytes:
    """The bytes of the file in the field ``image``; whatever else the form holds is passed over.

    Args:
        request: Its body has not been read.
        max_bytes: Largest file accepted; a longer body is refused before it is read to its end.
        hold: Told the size of each piece that is kept.

    Raises:
        Problem: there is not exactly one such file, it is too large, or the body is no sound form.
    """
    form = await read_form(request, files={FIELD: 1}, max_bytes=max_bytes, hold=hold)
    return form.files[0][1]


# wide: the limits of a form; each endpoint names those that differ for it.
async def read_form(
    request: Request,
    *,
    files: Mapping[str, int],
    max_bytes: int,
    hold: Hold,
    max_total: int | None = None,
    texts: bool = False,
    max_parts: int = MAX_PARTS,
) -> Form:
    """The files and texts of a multipart form.

    Args:
        request: Its body has not been read.
        files: Name of each field that must hold a file -> how many it may hold.
        max_bytes: Largest file accepted.
        hold: Told the size of each piece that is kept.
        max_total: Bytes of all files together; by default those of one.
        texts: Whether text fields are kept; otherwise they are passed over.
        max_parts: Parts the form may have.

    Raises:
        Problem: a field is missing, no file, or there more often; too large; or the body is no sound form.
    """
    declared, options = parse_options_header(request.headers.get("content-type"))
    length = request.headers.get("content-length", "")
    first = next(iter(files))
    if not declared and length in {"", "0"} and "transfer-encoding" not in request.headers:
        raise Problem("missing_image", "the request has no body", hint=_HOW, field=first)
    if declared != FORM.encode():
        raise wrong_type(request, FORM)
    limit = max_total or max_bytes
    form = _Form(files, max_bytes, limit, hold, texts=texts, max_parts=max_parts)
    try:
        parser = MultipartParser(options.get(b"boundary", b""), form.callbacks())
        received = await _feed(request, parser.write, limit + FORM_OVERHEAD, lambda what: _too_large(what, limit))
    except FormParserError as error:
        raise Problem("malformed_form", f"the form cannot be read: {error}", hint=_HOW) from error
    if not received:
        raise Problem("missing_image", "the form is empty", hint=_HOW, field=first)
    return form.form()


async def read_raw(request: Request, *, max_bytes: int, hold: Hold) -> bytes:
    """The body as it is: a picture.

    Raises:
        Problem: it is empty or too large.
    """
    body = _Body(hold)
    if not await _feed(request, body.add, max_bytes, lambda what: _too_large(what, max_bytes)):
        raise Problem(
            "missing_image", "the request has no body", hint="with curl: --data-binary @picture.jpg", field=FIELD
        )
    return body.bytes()


async def read_json(request: Request, *, max_bytes: int, hold: Hold) -> Any:
    """The body as JSON, as the standard defines it: without NaN, and with numbers that can be read.

    Raises:
        Problem: it is none, or too large.
    """
    body = _Body(hold)

    def too_large(what: str) -> Problem:
        return Problem(
            "request_too_large", f"{what}; at most {max_bytes:,} are read", limit=max_bytes, unit="bytes"
        )

    await _feed(request, body.add, max_bytes, too_large)
    data = body.bytes()
    return parse_json(data) if len(data) <= _SMALL_JSON else await to_thread.run_sync(parse_json, data)


def parse_json(data: bytes | str, field: str = "") -> Any:
    """JSON to values.

    Raises:
        Problem: ``malformed_json``.
    """
    members: dict[str, Any] = {"field": field} if field else {}
    try:
        return json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        where = f"{field} is" if field else "the body is"
        raise Problem("malformed_json", f"{where} no JSON: {str(error)[:200]}", **members) from error


def wrong_type(request: Request, *wanted: str) -> Problem:
    """The problem of a body of another type."""
    return Problem(
        "unsupported_media_type",
        f"the body is {content_type(request)[:100] or 'of no stated type'}, not {' or '.join(wanted)}",
        hint=_HOW if FORM in wanted else f"send it with Content-Type: {wanted[0]}",
    )


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


async def _feed(
    request: Request, take: Callable[[bytes], object], limit: int, too_large: Callable[[str], Problem]
) -> int:
    """Hand the body on piece by piece; returns its length."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:19]) > limit:
        raise too_large(f"the request announces {int(length[:19]):,} bytes")
    loop = asyncio.get_running_loop()
    end = loop.time() + UPLOAD_SECONDS
    received = 0
    try:
        async with asyncio.timeout(IDLE_SECONDS) as clock:
            async for chunk in request.stream():
                received += len(chunk)
                if received > limit:
                    raise too_large(f"the request has more than {received:,} bytes")
                take(chunk)
                clock.reschedule(min(loop.time() + IDLE_SECONDS, end))
    except TimeoutError as error:
        raise Problem(
            "upload_timeout",
            f"the upload stood still for {IDLE_SECONDS:.0f} s or took longer than {UPLOAD_SECONDS:.0f} s",
            hint="try again on a better connection, or send a smaller picture",
            headers={"Connection": "close"},
        ) from error
    return received


class _Body:
    """Collects a body."""

    def __init__(self, hold: Hold) -> None:
        self._hold = hold
        self._data = bytearray()

    def add(self, chunk: bytes) -> None:
        self._hold(len(chunk))
        self._data += chunk

    def bytes(self) -> bytes:
        return bytes(self._data)


class _Form:
    """Collects files and texts while a parser walks through the body."""

    def __init__(
        self,
        wanted: Mapping[str, int],
        max_bytes: int,
        max_total: int,
        hold: Hold,
        *,
        texts: bool,
        max_parts: int,
    ) -> None:
        self._wanted = wanted
        self._max_bytes = max_bytes
        self._left = max_total
        self._max_total = max_total
        self._hold = hold
        self._keep_texts = texts
        self._max_parts = max_parts
        self._counts = dict.fromkeys(wanted, 0)
        self._files: list[tuple[str, bytearray]] = []
        self._texts: list[tuple[str, bytearray]] = []
        self._names: list[str] = []
        self._ended = False
        self._part: bytearray | None = None
        self._is_file = False
        self._header = b""
        self._value = b""
        self._disposition = b""

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._part_begins,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_ends,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def form(self) -> Form:
        """What was collected.

        Raises:
            Problem: see ``read_form``.
        """
        if not self._ended:
            raise Problem("malformed_form", "the form ends before its closing boundary", hint=_HOW)
        for name, most in self._wanted.items():
            self._check(name, most)
        texts = []
        for name, text in self._texts:
            try:
                texts.append((name, text.decode()))
            except UnicodeDecodeError as error:
                raise Problem("malformed_form", f"the field {name[:100]!a} is no UTF-8", field=name) from error
        return Form(tuple((name, bytes(data)) for name, data in self._files), tuple(texts))

    def _check(self, name: str, most: int) -> None:
        count = self._counts[name]
        if count > most:
            asked = "send one" if most == 1 else f"send {most} at most"
            raise Problem(
                "several_images",
                f"the form has {count} files {name!r}; {asked}",
                hint=_HOW,
                field=name,
                limit=most,
            )
        if count:
            return
        if name in self._names:
            raise Problem(
                "not_a_file",
                f"the field {name!r} is text; it must be a file",
                hint=f"{_HOW} (mind the @)",
                field=name,
            )
        there = ", ".join(repr(name) for name in self._names) or "nothing"
        raise Problem("missing_image", f"the form has no file {name!r}; it has: {there}", hint=_HOW, field=name)

    def _part_begins(self) -> None:
        if len(self._names) == self._max_parts:
            raise Problem(
                "malformed_form", f"the form has more than {self._max_parts} parts", limit=self._max_parts
            )
        self._disposition = b""
        self._part = None

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        filename = options.get(b"filename")
        # A browser sends a file field in which nothing was chosen with an empty file name.
        self._names.append(f"{name} (no file chosen)" if filename == b"" else name)
        self._is_file = bool(filename)
        if name in self._wanted:
            if filename:
                self._counts[name] += 1
                if self._counts[name] <= self._wanted[name]:
                    self._files.append((name, bytearray()))
                    self._part = self._files[-1][1]
        elif self._keep_texts and filename is None:
            self._texts.append((name, bytearray()))
            self._part = self._texts[-1][1]

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part is None:
            return
        size = end - start
        if self._is_file:
            if len(self._part) + size > self._max_bytes:
                raise _too_large(f"the picture has more than {self._max_bytes:,} bytes", self._max_bytes)
            if size > self._left:
                raise _too_large(f"all pictures have more than {self._max_total:,} bytes", self._max_total)
            self._left -= size
        self._hold(size)
        self._part += data[start:end]

    def _end(self) -> None:
        self._ended = True


def _too_large(what: str, max_bytes: int) -> Problem:
    message = f"{what}; at most {max_bytes:,} are accepted for a picture"
    return problem_of(ImageTooLargeError(message, limit=max_bytes, unit="bytes", hint="send a smaller picture"))
