"""JSON text of clients, parsed within limits on time and memory."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from imagefinder.server.errors import Problem

MAX_JSON_VALUES = 20_000
"""Largest number of values in a JSON document: members of objects and elements of arrays."""

MAX_JSON_ESCAPES = 1 << 20
_BYTES_PER_VALUE = 32
"""Outside of strings, a JSON document may have as many bytes per allowed value: numbers and white space."""


def parse_json(data: bytes | bytearray | str, field: str = "", *, max_values: int = MAX_JSON_VALUES) -> Any:
    """Parse JSON, after checks that bound the time and memory this takes.

    Args:
        data: JSON text.
        field: Name of the form field or parameter, for the error; empty for the body.
        max_values: Largest number of values.

    Raises:
        Problem: ``malformed_json``; ``invalid_parameter``: it has too many values.
    """
    members: dict[str, Any] = {"field": field} if field else {}
    what = field or "the body"
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        excess = _excess(text, max_values)
        if excess is None:
            return json.loads(text, parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:
        raise Problem(
            "malformed_json",
            f"{what} is not valid JSON: {str(error)[:200]}",
            hint="send one JSON document, encoded as UTF-8",
            **members,
        ) from error
    raise Problem(
        "invalid_parameter",
        f"{what} has too many {excess[0]}; the limit is {excess[1]:,}",
        limit=excess[1],
        **members,
    )


def _excess(text: str, max_values: int) -> tuple[str, int] | None:
    """The first limit that a JSON document exceeds: what, and how many. Nothing is parsed for it."""
    escapes = text.count("\\")
    if escapes > MAX_JSON_ESCAPES:
        return "escaped characters", MAX_JSON_ESCAPES
    if escapes:
        text = text.replace("\\\\", "").replace('\\"', "")
    if text.count('"') > 4 * max_values:  # two per string, two strings per member
        return "strings", 2 * max_values
    outside = "".join(text.split('"')[::2])
    if len(outside) > _BYTES_PER_VALUE * max_values:
        return "bytes outside of strings", _BYTES_PER_VALUE * max_values
    values = outside.count(",") + outside.count("[") + outside.count("{")
    return ("values", max_values) if values > max_values else None


def _reject_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")
