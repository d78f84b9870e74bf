"""Reading of request bodies, with limits on size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import Request
from python_multipart.exceptions import FormParserError, ParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from imagefinder.core.errors import ImageTooLargeError
from imagefinder.server.errors import Problem, problem_of
from imagefinder.server.form_parts import PreambleFilter, read_part
from imagefinder.server.json_text import MAX_JSON_VALUES, parse_json

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

T = TypeVar("T")

FIELD = "image"
MAX_PARTS = 16
FORM_OVERHEAD = 1 << 20
"""Bytes that a form may have in addition to the images."""

FORM, JSON = "multipart/form-data", "application/json"

IDLE_SECONDS = 30.0
UPLOAD_SECONDS = 300.0
MIN_RATE = 4096
"""Bytes per second that an upload must reach on average, after the first ``IDLE_SECONDS``."""

MAX_TEXT_BYTES = 1 << 20
"""Largest size of all text fields of a form together."""

JSON_COPIES = 3
"""Memory that a JSON body needs, as a multiple of its size: bytes, text and values."""

_CURL_HINT = 'send it as a file field; with curl: -F "image=@image.jpg"'
_SMALL_JSON = 1 << 14
"""Longer JSON is parsed in a thread, so that it does not block the event loop."""

ReserveBytes = Callable[[int], None]
"""Called with the size of each chunk before it is kept in memory; raises if the memory is used up."""


@dataclass(frozen=True, slots=True)
class MultipartForm:
    """A multipart form.

    Attributes:
        files: Name and bytes of each file of the requested fields, in order.
        texts: Name and text of each text field, in order; empty if texts were not requested.
    """

    files: tuple[tuple[str, bytes], ...]
    texts: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[bytes]:
        """The files of a field, in order."""
        return [data for field, data in self.files if field == name]


def content_type(request: Request) -> str:
    """The media type of the body, without parameters, in lower case; empty if the request states none."""
    stated, _ = parse_options_header(request.headers.get("content-type"))
    return stated.decode("latin-1").lower()


async def read_image(request: Request, *, max_bytes: int, reserve: ReserveBytes) -> bytes:
    """The bytes of the file in the form field ``image``; all other fields are ignored.

    Args:
        request: A request whose body has not been read.
        max_bytes: Largest file accepted; a longer body is refused before it is read completely.
        reserve: Called with the size of each chunk that is kept.

    Raises:
        Problem: the form does not have exactly one such file, the file is too large, or the form is malformed.
    """
    form = await read_form(request, files={FIELD: 1}, max_bytes=max_bytes, reserve=reserve)
    return form.files[0][1]


# wide: the limits of a form; each endpoint passes only those that differ from the defaults.
async def read_form(
    request: Request,
    *,
    files: Mapping[str, int],
    max_bytes: int,
    reserve: ReserveBytes,
    max_total: int | None = None,
    texts: bool = False,
    instead: str = "",
    max_parts: int = MAX_PARTS,
) -> MultipartForm:
    """The files and texts of a multipart form.

    Args:
        request: A request whose body has not been read.
        files: Name of each required file field -> largest number of files in it.
        max_bytes: Largest file accepted, bytes.
        reserve: Called with the size of each chunk that is kept.
        max_total: Largest total size of all files, bytes; default: ``max_bytes``.
        texts: Whether to keep text fields; otherwise they are ignored.
        instead: Name of a text field; a form that has it needs no files.
        max_parts: Largest number of parts.

    Raises:
        Problem: a field is missing, is not a file or has too many files; a file is too large; or the form is
            malformed.
    """
    declared, options = parse_options_header(request.headers.get("content-type"))
    length = request.headers.get("content-length", "")
    first = next(iter(files))
    if not declared and length in {"", "0"} and "transfer-encoding" not in request.headers:
        raise Problem("missing_image", "the request has no body", hint=_CURL_HINT, field=first)
    if declared != FORM.encode():
        raise wrong_type(request, FORM)
    limit = max_total or max_bytes
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise Problem(
            "malformed_form",
            "the Content-Type has no boundary",
            hint=f"let the HTTP library set the Content-Type; {_CURL_HINT}",
        )
    collector = _FormCollector(files, max_bytes, limit, reserve, texts=texts, max_parts=max_parts)
    collector.instead = instead
    body = PreambleFilter(boundary, MultipartParser(boundary, collector.callbacks()).write)
    try:
        received = await _feed(request, body.write, limit + FORM_OVERHEAD, lambda what: _too_large(what, limit))
    except FormParserError as error:
        where = f": error near byte {error.offset}" if isinstance(error, ParseError) and error.offset >= 0 else ""
        hint = "end each boundary and header with CR LF, and the headers of a part with an empty line"
        raise Problem("malformed_form", f"the form cannot be parsed{where}", hint=hint) from error
    if not received:
        raise Problem("missing_image", "the form is empty", hint=_CURL_HINT, field=first)
    body.end()
    return collector.form()


async def read_raw(request: Request, *, max_bytes: int, reserve: ReserveBytes) -> bytes:
    """The whole body, which is an encoded image.

    Raises:
        Problem: the body is empty or too large.
    """
    body = _BodyBuffer(reserve)
    if not await _feed(request, body.add, max_bytes, lambda what: _too_large(what, max_bytes)):
        raise Problem(
            "missing_image",
            "the request has no body",
            hint="send the image as the body; with curl: --data-binary @image.jpg",
            field=FIELD,
        )
    return bytes(body.take())


# wide: the limits of a JSON body.
async def read_json(
    request: Request,
    read: Callable[[Any], T],
    *,
    max_bytes: int,
    max_values: int = MAX_JSON_VALUES,
    reserve: ReserveBytes,
    parse: Callable[[Callable[[], T]], Awaitable[T]],
) -> T:
    """What ``read`` makes of the body as JSON; ``NaN`` and infinities, which JSON does not allow, are refused.

    Args:
        request: A request whose body has not been read.
        read: Validates the parsed body.
        max_bytes: Largest body accepted.
        max_values: Largest number of values.
        reserve: Called with the memory that each chunk will need.
        parse: Runs the parsing of a large body outside of the event loop.

    Raises:
        Problem: the body is not valid JSON, is too large, or has too many values; or what ``read`` raises.
    """
    body = _BodyBuffer(lambda size: reserve(JSON_COPIES * size))

    def too_large(what: str) -> Problem:
        return Problem(
            "request_too_large",
            f"{what}; the limit for JSON is {max_bytes:,} bytes (max_json_bytes)",
            hint="send large images as form files",
            limit=max_bytes,
            unit="bytes",
        )

    await _feed(request, body.add, max_bytes, too_large)

    def work() -> T:
        return read(parse_json(body.take(), max_values=max_values))

    return work() if len(body) <= _SMALL_JSON else await parse(work)


def wrong_type(request: Request, *accepted: str) -> Problem:
    """The problem for a body with an unsupported media type."""
    sent = content_type(request)[:100]
    return Problem(
        "unsupported_media_type",
        f"the body has the type {sent}; accepted: {', '.join(accepted)}"
        if sent
        else f"the request has no Content-Type; accepted: {', '.join(accepted)}",
        hint=_CURL_HINT if FORM in accepted else f"send it with Content-Type: {accepted[0]}",
    )


async def _feed(
    request: Request, take: Callable[[bytes], object], limit: int, too_large: Callable[[str], Problem]
) -> int:
    """Pass the body to ``take`` in chunks; returns its length in bytes."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:19]) > limit:
        raise too_large(f"the request has {int(length[:19]):,} bytes")
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        raise Problem(
            "unsupported_media_type",
            f"the body has the content encoding {coding[:50]!a}, which the server does not decompress",
            hint="send the body without compression",
        )
    loop = asyncio.get_running_loop()
    start = loop.time()
    received = 0
    try:
        async with asyncio.timeout(IDLE_SECONDS) as clock:
            async for chunk in request.stream():
                received += len(chunk)
                if received > limit:
                    raise too_large(f"the request has at least {received:,} bytes")
                take(chunk)
                slowest = min(IDLE_SECONDS + received / MIN_RATE, UPLOAD_SECONDS)
                clock.reschedule(min(loop.time() + IDLE_SECONDS, start + slowest))
    except TimeoutError as error:
        raise Problem(
            "upload_timeout",
            f"the upload was idle for {IDLE_SECONDS:.0f} s, took longer than {UPLOAD_SECONDS:.0f} s, or had "
            f"less than {MIN_RATE:,} bytes per second",
            hint="try again on a faster connection, or send a smaller image",
            headers={"Connection": "close"},
        ) from error
    return received


class _BodyBuffer:
    """Collects the chunks of a body."""

    def __init__(self, reserve: ReserveBytes) -> None:
        self._reserve = reserve
        self._data = bytearray()

    def __len__(self) -> int:
        return len(self._data)

    def add(self, chunk: bytes) -> None:
        self._reserve(len(chunk))
        self._data += chunk

    def take(self) -> bytearray:
        """The collected bytes, which the buffer does not keep."""
        data, self._data = self._data, bytearray()
        return data


class _FormCollector:
    """Collects the files and texts of a form; its methods are the callbacks of the multipart parser."""

    def __init__(
        self,
        wanted: Mapping[str, int],
        max_bytes: int,
        max_total: int,
        reserve: ReserveBytes,
        *,
        texts: bool,
        max_parts: int,
    ) -> None:
        self._wanted = wanted
        self._max_bytes = max_bytes
        self._left = max_total
        self._text_bytes = 0
        self._max_total = max_total
        self._reserve = reserve
        self._keep_texts = texts
        self._max_parts = max_parts
        self._counts = dict.fromkeys(wanted, 0)
        self._files: list[tuple[str, bytearray]] = []
        self._texts: list[tuple[str, bytearray]] = []
        self.instead = ""
        self._names: list[str] = []
        self._ended = False
        self._part: bytearray | None = None
        self._is_file = False
        self._unchosen = ""
        self._header = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}

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

    def form(self) -> MultipartForm:
        """The collected form.

        Raises:
            Problem: as ``read_form``.
        """
        if not self._ended:
            raise Problem("malformed_form", "the form ends before its closing boundary", hint=_CURL_HINT)
        for name, most in self._wanted.items():
            self._check(name, most)
        texts = []
        for name, text in self._texts:
            try:
                texts.append((name, text.decode()))
            except UnicodeDecodeError as error:
                raise Problem(
                    "malformed_form", f"the field {name[:100]!a} is not valid UTF-8", field=name
                ) from error
        return MultipartForm(tuple((name, bytes(data)) for name, data in self._files), tuple(texts))

    def _check(self, name: str, most: int) -> None:
        count = self._counts[name]
        if count > most:
            raise Problem(
                "several_images",
                f"the field {name!r} has {count} files; at most {most} allowed",
                hint="send one image" if most == 1 else f"send at most {most} images per request",
                field=name,
                limit=most,
            )
        if count or (self.instead and name not in self._names and self.instead in self._names):
            return
        if name in self._names:
            raise Problem(
                "not_a_file",
                f"the field {name!r} contains text; it must be a file",
                hint=f"{_CURL_HINT} (the @ makes curl send the file)",
                field=name,
            )
        present = ", ".join(repr(name) for name in self._names) or "none"
        raise Problem(
            "missing_image",
            f"the form has no file field {name!r}; fields in the form: {present}",
            hint=_CURL_HINT,
            field=name,
        )

    def _part_begins(self) -> None:
        if len(self._names) == self._max_parts:
            raise Problem(
                "malformed_form", f"the form has more than {self._max_parts} parts", limit=self._max_parts
            )
        self._headers = {}
        self._part = None

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header = self._value = b""

    def _headers_end(self) -> None:
        part = read_part(
            *(
                self._headers.get(name, b"")
                for name in (b"content-disposition", b"content-type", b"content-transfer-encoding")
            )
        )
        name = part.name
        self._names.append(f"{name} (no file chosen)" if part.kind == "unchosen" else name)
        self._unchosen = name if part.kind == "unchosen" else ""
        if name in self._wanted:
            if part.kind == "file":
                self._begin_file(name)
        elif self._keep_texts and part.kind != "unchosen":
            # Browsers send a Blob with a file name, although it is the value of a text field.
            self._is_file = False
            self._texts.append((name, bytearray()))
            self._part = self._texts[-1][1]
        if self._part is not None and part.encoding:
            raise Problem(
                "malformed_form",
                f"the field {name[:100]!a} has the transfer encoding {part.encoding[:50]!a}",
                hint="send its bytes as they are (RFC 7578)",
                field=name[:100],
            )

    def _begin_file(self, name: str) -> None:
        self._is_file = True
        self._counts[name] += 1
        if self._counts[name] <= self._wanted[name]:
            self._files.append((name, bytearray()))
            self._part = self._files[-1][1]

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._unchosen in self._wanted:
            self._names[-1] = self._unchosen
            self._begin_file(self._unchosen)
            self._unchosen = ""
        if self._part is None:
            return
        size = end - start
        if self._is_file:
            if len(self._part) + size > self._max_bytes:
                raise _too_large(f"the image has more than {self._max_bytes:,} bytes", self._max_bytes)
            if size > self._left:
                raise _too_large(f"the images have more than {self._max_total:,} bytes in total", self._max_total)
            self._left -= size
        else:
            self._text_bytes += size
            if self._text_bytes > MAX_TEXT_BYTES:
                raise Problem(
                    "request_too_large",
                    f"the text fields of the form have more than {MAX_TEXT_BYTES:,} bytes",
                    limit=MAX_TEXT_BYTES,
                    unit="bytes",
                )
        self._reserve(size)
        self._part += data[start:end]

    def _end(self) -> None:
        self._ended = True


def _too_large(what: str, max_bytes: int) -> Problem:
    message = f"{what}; the limit for images is {max_bytes:,} bytes"
    return problem_of(ImageTooLargeError(message, limit=max_bytes, unit="bytes", hint="send a smaller image"))
