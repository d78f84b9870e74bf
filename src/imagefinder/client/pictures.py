"""How pictures are handed to the service: as files, by URL, or by the id of an image it has."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class ById:
    """An image of the collection that is asked."""

    id: str


@dataclass(frozen=True, slots=True)
class Stored:
    """An image of any collection, to compare with."""

    id: str
    collection: str = "default"


Picture: TypeAlias = str | os.PathLike[str] | bytes
"""A path, an ``http(s)`` URL that the server fetches, or encoded bytes."""

Query: TypeAlias = Picture | ById


def is_url(picture: object) -> bool:
    """Whether the server is to fetch it."""
    return isinstance(picture, str) and picture.lower().startswith(("http://", "https://"))


def content(picture: Picture) -> tuple[str, bytes]:
    """A name for a file and its bytes.

    Raises:
        OSError: it cannot be read.
    """
    if isinstance(picture, bytes):
        return "picture", picture
    path = Path(picture)
    return path.name, path.read_bytes()


def reference(picture: Query | Stored) -> dict[str, Any]:
    """A picture as members of a JSON object.

    Raises:
        OSError: a file cannot be read.
    """
    if isinstance(picture, ById):
        return {"id": picture.id}
    if isinstance(picture, Stored):
        return {"collection": picture.collection, "id": picture.id}
    if isinstance(picture, str) and is_url(picture):
        return {"url": picture}
    return {"base64": base64.b64encode(content(picture)[1]).decode("ascii")}


def is_file(picture: object) -> bool:
    """Whether it is sent as a file."""
    return not isinstance(picture, ById | Stored) and not is_url(picture)


def form(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a JSON request as fields of a form; boxes are repeated."""
    fields: dict[str, Any] = {}
    for name, value in options.items():
        if name == "boxes":
            fields["box"] = [",".join(str(number) for number in box) for box in value]
        else:
            fields[name] = _text(value)
    return fields


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return json.dumps(value)
    return str(value)


def is_many(query: object) -> bool:
    """Whether several are asked with at once."""
    return isinstance(query, Sequence) and not isinstance(query, str | bytes)
