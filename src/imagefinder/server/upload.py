"""The picture of a multipart form, read without ever holding more of the request than its limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

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
"""Bytes a form may have beside the picture."""

IDLE_SECONDS = 30.0
UPLOAD_SECONDS = 300.0

_HOW = 'with curl: -F "image=@picture.jpg"'


async def read_image(request: Request, *, max_bytes: int, hold: Callable[[int], None]) -> bytes:
    """The bytes of the file in the field ``image``; whatever else the form holds is passed over.

    Args:
        request: Its body has not been read.
        max_bytes: Largest file accepted; a longer body is refused before it is read to its end.
        hold: Told the size of each piece that is kept.

    Raises:
        Problem: there is not exactly one such file, it is too large, or the body is no sound form.
    """
    content_type, options = parse_options_header(request.headers.get("content-type"))
    length = request.headers.get("content-length", "")
    if not content_type and length in {"", "0"} and "transfer-encoding" not in request.headers:
        raise Problem("missing_image", "the request has no body", hint=_HOW, field=FIELD)
    if content_type != b"multipart/form-data":
        raise Problem(
            "unsupported_media_type",
            f"the body is {content_type.decode('latin-1') or 'of no stated type'}, not multipart/form-data",
            hint=_HOW,
        )
    if length.isdecimal() and int(length) > max_bytes + FORM_OVERHEAD:
        raise _too_large(f"the request announces {int(length):,} bytes", max_bytes)
    form = _Form(max_bytes, hold)
    try:
        parser = MultipartParser(options.get(b"boundary", b""), form.callbacks())
        await _feed(request, parser, max_bytes)
    except FormParserError as error:
        raise Problem("malformed_form", f"the form cannot be read: {error}", hint=_HOW) from error
    return form.image()


async def _feed(request: Request, parser: MultipartParser, max_bytes: int) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + UPLOAD_SECONDS
    received = 0
    try:
        async with asyncio.timeout(IDLE_SECONDS) as clock:
            async for chunk in request.stream():
                received += len(chunk)
                if received > max_bytes + FORM_OVERHEAD:
                    raise _too_large(f"the request has more than {received:,} bytes", max_bytes)
                parser.write(chunk)
                clock.reschedule(min(loop.time() + IDLE_SECONDS, end))
    except TimeoutError as error:
        raise Problem(
            "upload_timeout",
            f"the upload stood still for {IDLE_SECONDS:.0f} s or took longer than {UPLOAD_SECONDS:.0f} s",
            hint="try again on a better connection, or send a smaller picture",
            headers={"Connection": "close"},
        ) from error
    if not received:
        raise Problem("missing_image", "the form is empty", hint=_HOW, field=FIELD)


class _Form:
    """Collects the picture while a parser walks through the body."""

    def __init__(self, max_bytes: int, hold: Callable[[int], None]) -> None:
        self._max_bytes = max_bytes
        self._hold = hold
        self._picture = bytearray()
        self._files = 0
        self._names: list[str] = []
        self._ended = False
        self._keeping = False
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

    def image(self) -> bytes:
        """The picture.

        Raises:
            Problem: see ``read_image``.
        """
        if not self._ended:
            raise Problem("malformed_form", "the form ends before its closing boundary", hint=_HOW)
        if self._files > 1:
            raise Problem(
                "several_images", f"the form has {self._files} files {FIELD!r}; send one", hint=_HOW, field=FIELD
            )
        if self._files:
            return bytes(self._picture)
        if FIELD in self._names:
            raise Problem(
                "not_a_file",
                f"the field {FIELD!r} is text; it must be a file",
                hint=f"{_HOW} (mind the @)",
                field=FIELD,
            )
        there = ", ".join(repr(name) for name in self._names) or "nothing"
        raise Problem("missing_image", f"the form has no file {FIELD!r}; it has: {there}", hint=_HOW, field=FIELD)

    def _part_begins(self) -> None:
        if len(self._names) == MAX_PARTS:
            raise Problem("malformed_form", f"the form has more than {MAX_PARTS} parts", limit=MAX_PARTS)
        self._disposition = b""
        self._keeping = False

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
        if name == FIELD and filename:
            self._files += 1
            self._keeping = self._files == 1

    def _data(self, data: bytes, start: int, end: int) -> None:
        if not self._keeping:
            return
        if len(self._picture) + end - start > self._max_bytes:
            raise _too_large(f"the picture has more than {self._max_bytes:,} bytes", self._max_bytes)
        self._hold(end - start)
        self._picture += data[start:end]

    def _end(self) -> None:
        self._ended = True


def _too_large(what: str, max_bytes: int) -> Problem:
    message = f"{what}; at most {max_bytes:,} are accepted for a picture"
    return problem_of(ImageTooLargeError(message, limit=max_bytes, unit="bytes", hint="send a smaller picture"))
