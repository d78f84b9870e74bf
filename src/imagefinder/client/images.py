"""The forms of images in requests: files, URLs and ids of stored images."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from imagefinder.core.addresses import is_web_address


@dataclass(frozen=True, slots=True)
class ById:
    """A query image that is stored in the searched collection."""

    id: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored image of any collection, for comparisons."""

    id: str
    collection: str = "default"


ImageSource: TypeAlias = str | os.PathLike[str] | bytes
"""A path, an ``http(s)`` URL that the server downloads, or encoded bytes."""

QuerySource: TypeAlias = ImageSource | ById
"""A query image: as ``ImageSource``, or the id of a stored image."""


def is_url(image: object) -> bool:
    """Whether the image is an http(s) URL, which the server downloads."""
    return isinstance(image, str) and is_web_address(image)


def content(image: ImageSource) -> tuple[str, bytes]:
    """File name and bytes of an image.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(image, bytes):
        return "image", image
    path = Path(image)
    return path.name, path.read_bytes()


def reference(image: QuerySource | Stored | None) -> dict[str, Any]:
    """The members of a JSON request that name an image; files are sent as base64. ``None``: no members.

    Raises:
        OSError: the file cannot be read.
    """
    if image is None:
        return {}
    if isinstance(image, ById):
        return {"id": image.id}
    if isinstance(image, Stored):
        return {"collection": image.collection, "id": image.id}
    if isinstance(image, str) and is_url(image):
        return {"url": image}
    return {"base64": base64.b64encode(content(image)[1]).decode("ascii")}
