"""Where the next page of a list begins, as an opaque word."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from fastapi import Query

from imagefinder.server.errors import Problem
from imagefinder.server.v1.requests import MAX_PAGE, PAGE

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="how many at most")]
Cursor = Annotated[
    str,
    Query(
        alias="cursor",
        max_length=6000,  # the longest path as an id; the web server reads 64 kB of an address
        pattern=r"^[A-Za-z0-9_-]*$",
        description="next_cursor of the page before",
    ),
]
DEFAULT_LIMIT = PAGE


def make(place: str) -> str:
    """The cursor of the page that begins behind a place."""
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def read(cursor: str) -> str:
    """The place; empty for the first page.

    Raises:
        Problem: ``invalid_parameter``.
    """
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise Problem(
            "invalid_parameter",
            "cursor: this is none of this list",
            hint="begin again without one",
            field="cursor",
        ) from error
