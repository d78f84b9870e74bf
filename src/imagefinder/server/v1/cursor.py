"""Cursors of paged lists: opaque strings that mark where the next page begins."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from fastapi import Query

from imagefinder.server.errors import Problem
from imagefinder.server.v1.requests import MAX_PAGE, PAGE

MAX_CURSOR = 49_152
"""Largest length of a cursor: enough for the longest id, also a URL of 8000 characters with four bytes each."""

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Largest number of items on the page.")]
Cursor = Annotated[
    str,
    Query(
        alias="cursor",
        max_length=MAX_CURSOR,
        pattern=r"^[A-Za-z0-9_-]*$",
        description="`next_cursor` of the previous page; omit it for the first page.",
    ),
]
DEFAULT_LIMIT = PAGE


def make(position: str) -> str:
    """The cursor of the page that starts after a position in the list."""
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def read(cursor: str) -> str:
    """The position in a cursor; empty for the first page.

    Raises:
        Problem: ``invalid_parameter``.
    """
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise invalid() from error


def invalid() -> Problem:
    """The problem for a cursor that does not belong to the list."""
    return Problem(
        "invalid_parameter",
        "cursor: it does not belong to this list",
        hint="start again without a cursor",
        field="cursor",
    )
