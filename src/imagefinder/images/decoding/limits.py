"""Checks that need no decoder, shared by the pool and its workers."""

from __future__ import annotations

from imagefinder.core.errors import EmptyImageError, ImageTooLargeError


def check_encoded_size(data: bytes, max_bytes: int) -> None:
    """Reject an empty file and one over the limit.

    Raises:
        EmptyImageError: no bytes.
        ImageTooLargeError: more than ``max_bytes``.
    """
    if not data:
        raise EmptyImageError("the image file is empty (0 bytes)")
    if len(data) > max_bytes:
        raise ImageTooLargeError(
            f"the image has {len(data):,} bytes; the limit is {max_bytes:,} (max_image_bytes)",
            limit=max_bytes,
            unit="bytes",
        )


_JPEG_HEAD = 1 << 20


def needed_for_metadata(data: bytes) -> bytes:
    """The part of an encoded image that its metadata are in: small segments at the beginning of a JPEG."""
    return data[:_JPEG_HEAD] if data.startswith(b"\xff\xd8\xff") else data
