"""The names of members of zip archives, which record their encoding in several ways or not at all."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib

_UTF8 = 0x800  # flag of a name in UTF-8
_UNICODE_PATH = 0x7075  # extra field of Info-ZIP with the name in UTF-8
_WINDOWS = frozenset({0, 10, 11, 14})  # systems without backslashes in names: FAT, NTFS, MVS and VFAT

_BACKSLASH, _BACKSLASH_AFTER_ASCII = re.compile(r"\\"), re.compile(r"(?<![^\0-\x7f])\\")
_UNDECODED = re.compile("[\udc80-\udcff]")


def member_name(info: zipfile.ZipInfo, encoding: str = "auto") -> str:
    r"""The name of a member, with ``/`` between its parts.

    It is decoded as UTF-8 if its flag or a valid Unicode path field says so, or if it has no such mark, is valid
    UTF-8 and ``encoding`` is ``auto`` (archives of macOS). Any other name is in ``encoding``, or in code page 437,
    the default of the zip format. Bytes that are not valid in ``encoding`` become ``\xNN``.

    Windows programs may write backslashes between parts. If the encoding is a guess, one after a byte above 127
    stays: it may be the second half of a Japanese or Chinese character, and what follows would look hidden.

    Source: APPNOTE 6.3.10, sections 4.4.4, 4.6.9 and appendix D.
    """
    name, separator = info.orig_filename, _BACKSLASH
    if not info.flag_bits & _UTF8:
        raw = name.encode("cp437")
        name = _unicode_path(info.extra, raw)
        if not name:
            name, separator = _decoded(raw, encoding)
    name = name.partition("\0")[0]
    if info.create_system in _WINDOWS:
        name = separator.sub("/", name)
    return _UNDECODED.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", name)


def _decoded(raw: bytes, encoding: str) -> tuple[str, re.Pattern[str]]:
    """A name, in which bytes that are not valid are surrogates, and what separates its parts besides ``/``."""
    try:
        if encoding != "auto":
            return raw.decode(encoding, "surrogateescape"), _BACKSLASH
        return raw.decode(), _BACKSLASH
    except UnicodeDecodeError:
        if encoding != "auto":  # an encoding with states has ASCII bytes that are not valid
            return raw.decode(encoding, "backslashreplace"), _BACKSLASH
        return raw.decode("cp437"), _BACKSLASH_AFTER_ASCII


def _unicode_path(extra: bytes, raw: bytes) -> str:
    """The name in the Unicode path field; empty without a valid one that belongs to the name in the header."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        data, extra = extra[4 : 4 + size], extra[4 + size :]
        # A program that does not know the field renames the member only in the header: then the checksum differs.
        if kind == _UNICODE_PATH and len(data) >= 5 and struct.unpack_from("<BL", data) == (1, zlib.crc32(raw)):
            try:
                return data[5:].decode()
            except UnicodeDecodeError:
                return ""
    return ""
