"""Limits on the metadata and the id of an image, checked wherever an image enters a collection."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from imagefinder.core.errors import InputError, MetadataError
from imagefinder.core.file_metadata import NAMESPACES
from imagefinder.core.json_limits import JsonLimits

METADATA_LIMITS = JsonLimits(bytes=65_536, values=4096, levels=64)
"""Largest metadata of one image. Every hit carries its metadata, so they decide the size of an answer."""

MAX_ID_BYTES = 1024
"""Maximum length of an image id, bytes in UTF-8, so that it fits into a URL, a database index and the key of an
object."""


def check_metadata(metadata: Mapping[str, object]) -> None:
    """Check that metadata of a user are a JSON object within the limits, without reserved keys.

    Raises:
        MetadataError: they are not; the message names the limit, or the reserved key.
    """
    try:
        violation = METADATA_LIMITS.violation(metadata)
    except (TypeError, ValueError, RecursionError) as error:
        raise MetadataError(f"the metadata are not a JSON object: {error}") from error
    if violation:
        reason, limit = violation
        raise MetadataError(
            f"the metadata have {reason}",
            hint="keep large data elsewhere, and store a reference to it",
            limit=limit,
        )
    for key in metadata:
        if key in NAMESPACES:
            raise MetadataError(
                f"the key {key!r} of the metadata is reserved for what image files say",
                hint="choose another key; to change what is under this one, edit the file or its .xmp file",
            )


def check_new_id(image_id: str) -> None:
    """Check the length of the id of an image to store.

    Images that earlier versions stored under longer ids can be read, searched and removed, but not replaced.

    Raises:
        InputError: it is too long.
    """
    length = _utf8_bytes(image_id)
    if length > MAX_ID_BYTES:
        shown = image_id[:60].encode("ascii", "backslashreplace").decode()
        raise InputError(
            f"the id {shown}... has {length:,} bytes; the limit is {MAX_ID_BYTES:,}", hint="choose a shorter id"
        )


def shortened_id(image_id: str) -> str:
    """An id within the limit: the given one or, if it is too long, its beginning and a hash of all of it."""
    if _utf8_bytes(image_id) <= MAX_ID_BYTES:
        return image_id
    data = image_id.encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(data).hexdigest()[:16]
    return f"{data[: MAX_ID_BYTES - 40].decode('utf-8', 'ignore')}... ({digest})"


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
