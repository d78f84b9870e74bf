"""Values of settings: their types in words, and their form in files, environment variables and tables."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, get_args, get_origin

from imagefinder.core import home

_BOOLEANS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def type_name(kind: Any) -> str:
    """The readable type of a setting, for example ``int`` or ``list of str``."""
    return f"list of {get_args(kind)[0].__name__}" if get_origin(kind) is tuple else str(kind.__name__)


def expected(kind: Any) -> str:
    """The type of a setting in words, for error messages."""
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(
        kind, type_name(kind)
    )


def typed(kind: Any, value: Any) -> Any:
    """Convert a value from a file, a variable or a flag to the type of its setting.

    Raises:
        TypeError, ValueError: the value cannot be converted.
    """
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        # Paths can contain commas, so they are separated as in PATH.
        parts = value.split(os.pathsep if item is Path else ",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise TypeError
        return tuple(typed(item, part.strip() if isinstance(value, str) else part) for part in parts if part)
    if kind is Path:
        return home.expand(value)
    if kind is str:
        if not isinstance(value, str):
            raise TypeError
        return value
    if kind is bool:
        return value if isinstance(value, bool) else _boolean(value)
    if isinstance(value, bool) or (kind is int and isinstance(value, float)):
        raise TypeError
    return kind(value)


def _boolean(text: Any) -> bool:
    word = str(text).strip().lower()
    if word not in _BOOLEANS:
        raise ValueError(word)
    return _BOOLEANS[word]


def plain(value: Any) -> str:
    """A value in a table, and in an environment variable."""
    if isinstance(value, tuple):
        return (os.pathsep if value and isinstance(value[0], Path) else ",").join(map(str, value)) or "(none)"
    return str(value) or "(none)"


def toml(value: Any) -> str:
    """A value in a TOML file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml, value))}]"
    # A JSON string is a valid TOML string, except for this character.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def comment(text: str) -> str:
    """Text in a comment of a TOML file: on one line."""
    return "".join(c if c.isprintable() else "?" for c in text)
