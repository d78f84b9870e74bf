"""Limits on the metadata and the id of an image, checked wherever an image enters a collection."""

from __future__ import annotations

from collections.abc import Mapping

from imagefinder.core.errors import InputError, MetadataError
from imagefinder.core.json_limits import JsonLimits

METADATA_LIMITS = JsonLimits(bytes=65_536, values=4096, levels=64)
"""Largest metadata of one image. Every hit carries its metadata, so they decide the size of an answer."""

MAX_ID_BYTES = 8192
"""Maximum length of a new image id, bytes in UTF-8, so that it also fits into a URL."""


def check_metadata(metadata: Mapping[str, object]) -> None:
    """Check that metadata are a JSON object within the limits.

    Raises:
        MetadataError: they are not; the message names the limit.
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


def check_new_id(image_id: str) -> None:
    """Check the length of the id of a new image.

    Raises:
        InputError: it is too long.
    """
    if len(image_id[: MAX_ID_BYTES + 1].encode("utf-8", "surrogatepass")) > MAX_ID_BYTES:
        shown = image_id[:60].encode("ascii", "backslashreplace").decode()
        raise InputError(f"the id {shown}... has more than {MAX_ID_BYTES:,} bytes", hint="choose a shorter id")
