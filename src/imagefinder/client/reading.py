"""JSON to frozen dataclasses, by their annotations."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def read(kind: type[T], value: Any) -> T:
    """The object of a JSON form; members that its class does not know are passed over (a newer server's).

    Args:
        kind: A dataclass whose fields are annotated with dataclasses, ``tuple``, ``Mapping``, ``Literal`` and
            plain types.
        value: Parsed JSON.

    Raises:
        ValueError: it is nothing of the kind.
    """
    try:
        return cast(T, _read(kind, value))
    except (TypeError, KeyError) as error:
        raise ValueError(f"no {kind.__name__}: {error}") from error


def _read(kind: Any, value: Any) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any or origin is Literal:  # a word that a newer server knows is no error
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _read(next(argument for argument in arguments if argument is not type(None)), value)
    if origin is tuple:
        items = _as(list, value)
        if arguments[1:] == (...,):
            return tuple(_read(arguments[0], item) for item in items)
        return tuple(_read(argument, item) for argument, item in zip(arguments, items, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        return {name: _read(arguments[1], item) for name, item in _as(dict, value).items()}
    if dataclasses.is_dataclass(kind):
        given, hints = _as(dict, value), _hints(cast(type, kind))
        return cast(Any, kind)(**{name: _read(hints[name], given[name]) for name in hints if name in given})
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _as(kind, value)


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}


def _as(kind: type[T], value: Any) -> T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{value!r:.100} is no {kind.__name__}")
    return value
