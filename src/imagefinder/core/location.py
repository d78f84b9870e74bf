"""Where a collection is: the path of a folder, or a URL whose scheme names the kind of store."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

from imagefinder.core import home
from imagefinder.core.errors import SettingsError

# A single letter is a drive of Windows: C:\images.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://", re.ASCII)
_FILE = re.compile(r"file:(?://(?P<host>[^/]*))?(?P<path>/(?!/).*)", re.IGNORECASE | re.DOTALL)


def as_location(value: str | os.PathLike[str]) -> str:
    """The normal form of a location: a path, with ``~`` replaced, or a URL other than ``file:``.

    Raises:
        SettingsError: a ``file:`` URL without an absolute path on this machine.
    """
    text = os.fspath(value)
    if scheme_of(text) not in ("", "file"):
        return text
    found = _FILE.fullmatch(text)
    if found is None and scheme_of(text) == "":
        return str(home.expand(text))
    if found is None or (found["host"] or "").lower() not in ("", "localhost"):
        raise SettingsError(
            f"{text!r} does not name a folder on this machine", hint="write file:///FOLDER, or the plain path"
        )
    if os.name == "nt":
        from urllib.request import url2pathname  # noqa: PLC0415 - loads an HTTP client

        return str(Path(url2pathname(found["path"])))
    return str(Path(os.fsdecode(unquote_to_bytes(found["path"]))))


def scheme_of(location: str) -> str:
    """The scheme of a URL in lower case; empty for a path."""
    found = _URL.match(location)
    return found[1].lower() if found else ""


def child(location: str, name: str) -> str:
    """The location with a name appended to its path, for example a collection in a database."""
    if not scheme_of(location):
        return str(Path(location) / name)
    path, mark, parameters = location.partition("?")
    return f"{path.rstrip('/')}/{name}{mark}{parameters}"


def parent(location: str) -> tuple[str, str]:
    """The location without the last name of its path, and that name; the inverse of ``child``, for URLs."""
    path, mark, parameters = location.partition("?")
    above, _, name = path.rpartition("/")
    return f"{above}{mark}{parameters}", name


def shown(location: str) -> str:
    """A location for messages and logs: a URL without user, password and parameters; a path unchanged."""
    found = _URL.match(location)
    if found is None:
        return location
    authority, rest = _split(location[found.end() :])
    if "@" in rest:  # a password that is not quoted, or a parameter: where it begins cannot be known
        return f"{found[0]}..."
    _, at, host = authority.rpartition("@")
    path = re.split("[?#]", rest, maxsplit=1)[0]
    return f"{found[0]}{'***@' if at else ''}{host}{path}{'?...' if path != rest else ''}"


def _split(text: str) -> tuple[str, str]:
    """The part of a URL before its path and parameters, and those."""
    end = next((number for number, letter in enumerate(text) if letter in "/?#"), len(text))
    return text[:end], text[end:]
