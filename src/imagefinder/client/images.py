"""How images are sent to the service: as files, by URL, or by the id of an image it has."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from imagefinder.core.addresses import is_web_address


@dataclass(frozen=True, slots=True)
class ById:
    """An image of the collection that is searched."""

    id: str


@dataclass(frozen=True, slots=True)
class Stored:
    """An image of any collection, to compare with."""

    id: str
    collection: str = "default"


ImageSource: TypeAlias = str | os.PathLike[str] | bytes
"""A path, an ``http(s)`` URL that the server fetches, or encoded bytes."""

QuerySource: TypeAlias = ImageSource | ById
"""Where the image of a query comes from."""


def is_url(picture: object) -> bool:
    """Whether the server is to fetch it."""
    return isinstance(picture, str) and is_web_address(picture)


def content(picture: ImageSource) -> tuple[str, bytes]:
    """A name for a file and its bytes.

    Raises:
        OSError: it cannot be read.
    """
    if isinstance(picture, bytes):
        return "picture", picture
    path = Path(picture)
    return path.name, path.read_bytes()


def reference(picture: QuerySource | Stored) -> dict[str, Any]:
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
