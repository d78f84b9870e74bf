"""Conversion of dataclasses to JSON and back, for files, command line, REST service and client."""

from __future__ import annotations

import math
import threading
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import SchemaValidator

T = TypeVar("T")

_BUILDING = threading.Lock()


class Described:
    """Base of dataclasses whose attribute docstrings become descriptions in JSON schemas."""

    __slots__ = ()
    __pydantic_config__ = {"use_attribute_docstrings": True, "json_schema_serialization_defaults_required": True}  # noqa: RUF012 - the name pydantic reads


def to_json(value: object) -> Any:
    """Convert a dataclass to JSON data (dicts, lists, ...); infinity and NaN become ``None``."""
    kind: Any = type(value)
    return _finite(type_adapter(kind).dump_python(value, mode="json"))


def from_json(kind: type[T], data: object, *, newer: bool = False) -> T:
    """Convert JSON data to a dataclass; unknown members are ignored.

    Args:
        kind: The dataclass.
        data: JSON data as ``to_json`` returns them.
        newer: Accept any value for a ``Literal`` field, because a newer version may have more values.

    Raises:
        ValueError: the data do not match the dataclass.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - see type_adapter

    form: Any = kind
    validate = _lenient(form).validate_python if newer else type_adapter(form).validate_python
    try:
        return validate(data)  # type: ignore[no-any-return] # the validator of a schema is not generic
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"not a {kind.__name__}: {place + ': ' if place else ''}{first['msg']}") from error


@cache
def type_adapter(kind: Any) -> TypeAdapter[Any]:
    """Pydantic's converter of a class; threads may call this at the same time."""
    from pydantic import TypeAdapter  # noqa: PLC0415 - most commands need no JSON, and it costs 0.1 s

    # Pydantic parses docstrings, and in Python 3.11 ast.parse fails if two threads call it at the same time.
    with _BUILDING:
        return TypeAdapter(kind)


@cache
def _lenient(kind: Any) -> SchemaValidator:
    from pydantic_core import SchemaValidator  # noqa: PLC0415 - see type_adapter

    return SchemaValidator(_any_word(type_adapter(kind).core_schema))


def _any_word(schema: Any) -> Any:
    if isinstance(schema, dict):
        if schema.get("type") == "literal":
            return {"type": "any"}
        return {key: _any_word(value) for key, value in schema.items()}
    return [_any_word(value) for value in schema] if isinstance(schema, list) else schema


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_finite(member) for member in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
