"""Validation errors of pydantic as messages for clients."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

HINT = "/docs describes the parameters of each endpoint"

_MESSAGES: Mapping[str, str] = {
    "missing": "it is required",
    "extra_forbidden": "unknown field",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "finite_number": "must be a finite number",
    "int_parsing_size": "must be an integer with fewer digits",
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be a string",
    "list_type": "must be a list",
    "dict_type": "must be a JSON object",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "union_tag_invalid": "kind must be one of {expected_tags}",
    "union_tag_not_found": "kind is required",
}
"""Error type of pydantic -> message, with the names of its context."""


def first_unknown(model: type[BaseModel], data: object) -> object:
    """The data with at most one member that the model does not have.

    pydantic reports every unknown member, which takes 20 microseconds and a kilobyte each; clients get the first.
    """
    if not isinstance(data, dict) or len(data) <= len(model.model_fields):
        return data
    unknown = next((name for name in data if name not in model.model_fields), None)
    return {name: value for name, value in data.items() if name == unknown or name in model.model_fields}


def message(error: Mapping[str, Any]) -> str:
    """The message for an error of ``ValidationError.errors()``."""
    template = _MESSAGES.get(error["type"])
    if template is None:
        return str(error["msg"]).removeprefix("Value error, ")
    return template.format(**error.get("ctx", {}))


_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")


def parse_integer(text: str) -> int:
    """The integer in a text field: decimal ASCII digits.

    Raises:
        ValueError: it is none.
    """
    if not _INTEGER.fullmatch(text.strip()):
        raise ValueError("must be an integer")
    return int(text)


def parse_number(text: str) -> float:
    """The number in a text field: decimal ASCII digits, finite.

    Raises:
        ValueError: it is none.
    """
    if len(text) > 400 or not _NUMBER.fullmatch(text.strip()):
        raise ValueError("must be a number")
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


def parse_box(text: str) -> list[float]:
    """The box in a text field: x, y, width, height, separated by commas.

    Raises:
        ValueError: it is none.
    """
    parts = text.split(",", 4)
    if len(parts) != 4:
        raise ValueError("must be x,y,width,height")
    return [parse_number(part) for part in parts]
