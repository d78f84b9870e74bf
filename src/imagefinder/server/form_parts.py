"""What browsers, libraries and devices send in multipart forms, beyond what the multipart parser reads."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from imagefinder.server.errors import Problem

MAX_PREAMBLE = 1 << 16
"""Largest text before the first boundary, bytes."""

_PARAMETER = re.compile(
    r';\s*(?P<name>[^\s=;"]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^;]*))', re.DOTALL
)
_FILE_NAME = re.compile(r"filename(\*|\*0\*?)?")
"""``filename``, ``filename*`` (RFC 5987), or the first piece of a long name (RFC 2231)."""

_TEXT_TYPES = frozenset({"", "text/plain", "application/json"})
_IDENTITY = frozenset({"", "7bit", "8bit", "binary"})


@dataclass(frozen=True, slots=True)
class Part:
    """The headers of a part of a form.

    Attributes:
        name: Name of the field; lists that end in ``[]`` have it without these brackets.
        kind: ``file``; ``text``; or ``unchosen``: with an empty file name, as browsers send a file field without a
            file. If it has data, it is a file.
        media_type: Media type in lower case; empty if the part states none.
        encoding: Transfer encoding other than plain bytes; empty for none.
    """

    name: str
    kind: Literal["file", "text", "unchosen"]
    media_type: str
    encoding: str


def read_part(disposition: bytes, content_type: bytes, transfer_encoding: bytes) -> Part:
    """The headers of a part; a header that is missing is empty.

    Args:
        disposition: Value of ``Content-Disposition``.
        content_type: Value of ``Content-Type``.
        transfer_encoding: Value of ``Content-Transfer-Encoding``.
    """
    name, file_name = "", None
    for found in _PARAMETER.finditer(disposition.decode("latin-1")):
        key, value = found["name"].lower(), _value(found)
        if key in {"name", "name*"}:
            name = _extended(value) if key == "name*" else value
        elif _FILE_NAME.fullmatch(key):
            file_name = file_name or value
    media_type = content_type.partition(b";")[0].strip().decode("latin-1").lower()
    encoding = transfer_encoding.strip().decode("latin-1").lower()
    kind: Literal["file", "text", "unchosen"] = "file"
    if file_name == "":
        kind = "unchosen"
    elif file_name is None and media_type in _TEXT_TYPES:
        kind = "text"
    return Part(name.removesuffix("[]"), kind, media_type, "" if encoding in _IDENTITY else encoding)


def _value(found: re.Match[str]) -> str:
    text = found["plain"].strip() if found["quoted"] is None else re.sub(r'\\(["\\])', r"\1", found["quoted"])
    return text.encode("latin-1").decode("utf-8", "replace")


def _extended(value: str) -> str:
    """The text of an extended parameter, such as ``utf-8''%C3%A9``; names of fields have no other characters."""
    return unquote(value.partition("'")[2].partition("'")[2])


class PreambleFilter:
    """Passes on a multipart body from its first boundary; RFC 2046 lets a client write text before it."""

    def __init__(self, boundary: bytes, write: Callable[[bytes], object]) -> None:
        """Store the parameters.

        Args:
            boundary: The boundary, without hyphens before it.
            write: Called with the body from the first boundary, in chunks.
        """
        self._delimiter = b"\n--" + boundary
        self._write = write
        self._seen = bytearray(b"\n")  # the body may begin with the boundary
        self.found = False

    def write(self, data: bytes) -> None:
        """Take the next chunk of the body.

        Raises:
            Problem: ``malformed_form``: there is no boundary in the first ``MAX_PREAMBLE`` bytes.
        """
        if self.found:
            self._write(data)
            return
        begin = max(0, len(self._seen) - len(self._delimiter))
        self._seen += data
        start = self._seen.find(self._delimiter, begin)
        if start >= 0:
            self.found = True
            self._write(bytes(self._seen[start + 1 :]))
            self._seen.clear()
        elif len(self._seen) > MAX_PREAMBLE:
            self.end()

    def end(self) -> None:
        """Check at the end of the body that it had a boundary.

        Raises:
            Problem: ``malformed_form``.
        """
        if not self.found:
            raise Problem(
                "malformed_form",
                "the form cannot be parsed: the boundary of its Content-Type does not occur in it",
                hint="let the HTTP library set the Content-Type",
            )
