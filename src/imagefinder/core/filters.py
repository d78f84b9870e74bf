r"""Filters on metadata: which images a question is about.

A filter is a JSON object; all that it says must hold. ``docs/guides/filtering.md`` explains it to users::

    {"shop": "north"}                        the value under the key is this one
    {"price": {"gte": 5, "lt": 10}}          conditions: eq, in, gt, gte, lt, lte, contains, exists
    {"maker.country": "IT"}                  a key within an object; a dot that is part of a key is ``\.``
    {"any": [A, B]}, {"all": [A, B]}, {"not": A}    one of the filters, all of them, not this one

A condition on a list holds if it holds for the whole list or for one of its items.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from imagefinder.core.errors import FilterError

MAX_DEPTH = 8
"""Filters within filters."""

MAX_CONDITIONS = 100
MAX_VALUES = 1000
"""Values of one ``in``."""

MAX_LEVELS = 32
"""Lists and objects within a value that is compared with."""

Path: TypeAlias = tuple[str, ...]

_MISSING = object()


class Filter(Protocol):
    """Says of metadata whether they fit."""

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether an image with these metadata is meant."""
        ...


@dataclass(frozen=True, slots=True)
class Condition:
    """Something about the value under a key.

    Attributes:
        path: The key, step by step.
        operator: ``eq``, ``in``, ``gt``, ``gte``, ``lt``, ``lte``, ``contains`` or ``exists``.
        operand: What the value is compared with.
    """

    path: Path
    operator: str
    operand: Any

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """See ``Filter``."""
        value: Any = metadata
        for step in self.path:
            value = value.get(step, _MISSING) if isinstance(value, Mapping) else _MISSING
        if self.operator == "exists":
            return (value is not _MISSING) is self.operand
        if value is _MISSING:
            return False
        holds = _OPERATORS[self.operator]
        values = [value, *value] if isinstance(value, list) else [value]
        return any(holds(item, self.operand) for item in values)


@dataclass(frozen=True, slots=True)
class All:
    """Each of these filters holds; an empty one always does."""

    parts: tuple[Filter, ...]

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """See ``Filter``."""
        return all(part.matches(metadata) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Any_:  # noqa: N801 - the name is that of the key
    """One of these filters holds."""

    parts: tuple[Filter, ...]

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """See ``Filter``."""
        return any(part.matches(metadata) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Not:
    """This filter does not hold."""

    part: Filter

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """See ``Filter``."""
        return not self.part.matches(metadata)


def parse(data: object) -> Filter:
    """The filter of a JSON object.

    Raises:
        FilterError: it is none; says where.
    """
    return _Parser().filter(data, "filter", 0)


class _Parser:
    def __init__(self) -> None:
        self._conditions = 0

    def filter(self, data: object, where: str, depth: int) -> Filter:
        if not isinstance(data, Mapping):
            raise _wrong(f"{where} must be a JSON object, not {_shown(data)}")
        if depth > MAX_DEPTH:
            raise _wrong(f"{where}: filters go {MAX_DEPTH} deep at most")
        parts: list[Filter] = []
        for key, value in data.items():
            if not isinstance(key, str):
                raise _wrong(f"{where}: keys are texts, not {_shown(key)}")
            inside = f"{where}.{key[:100]}"
            if key == "not":
                parts.append(Not(self.filter(value, inside, depth + 1)))
            elif key in ("any", "all"):
                if not isinstance(value, list) or not value:
                    raise _wrong(f"{inside} must be a list of filters, not {_shown(value)}")
                several = tuple(
                    self.filter(part, f"{inside}[{index}]", depth + 1) for index, part in enumerate(value)
                )
                parts.append(Any_(several) if key == "any" else All(several))
            else:
                parts += self._of_key(_path(key, inside), value, inside)
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _of_key(self, path: Path, value: object, where: str) -> list[Filter]:
        conditions = dict(value) if isinstance(value, Mapping) else {"eq": value}
        if not conditions:
            raise _wrong(f"{where} says nothing", hint=_HINT)
        found: list[Filter] = []
        for operator, operand in conditions.items():
            self._conditions += 1
            if self._conditions > MAX_CONDITIONS:
                raise _wrong(f"a filter has {MAX_CONDITIONS} conditions at most")
            _check(operator, operand, where)
            found.append(Condition(path, operator, operand))
        return found


def _check(operator: object, operand: object, where: str) -> None:
    """Refuse what an operator cannot compare with."""
    if operator not in _OPERATORS and operator != "exists":
        raise _wrong(f"{where}: there is no condition {_shown(operator)}", hint=_HINT)
    inside = f"{where}.{operator}"
    match operator:
        case "exists":
            if not isinstance(operand, bool):
                raise _wrong(f"{inside} must be true or false, not {_shown(operand)}")
        case "in":
            if not isinstance(operand, list):
                raise _wrong(f"{inside} must be a list, not {_shown(operand)}")
            if len(operand) > MAX_VALUES:
                raise _wrong(f"{inside} has {len(operand)} values; {MAX_VALUES} are accepted")
        case "contains":
            if not isinstance(operand, str):
                raise _wrong(f"{inside} must be a text, not {_shown(operand)}")
        case "gt" | "gte" | "lt" | "lte":
            if not (isinstance(operand, str) or _is_number(operand)):
                raise _wrong(f"{inside} must be a number or a text, not {_shown(operand)}")
    if goes_deeper(operand, MAX_LEVELS):
        raise _wrong(f"{inside} goes more than {MAX_LEVELS} levels deep")
    try:
        # A value that JSON cannot say is never in metadata; half a surrogate pair cannot be asked for either.
        json.dumps(operand, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _wrong(f"{inside} is no JSON value") from error


def _path(key: str, where: str) -> Path:
    """The steps of a dotted key; a backslash makes the character behind it an ordinary one."""
    steps, step, letters = [], "", iter(key)
    for letter in letters:
        if letter == "\\":
            step += next(letters, "\\")
        elif letter == ".":
            steps.append(step)
            step = ""
        else:
            step += letter
    steps.append(step)
    if len(steps) > 2 * MAX_DEPTH or len(key) > 1000:
        raise _wrong(f"{where[:200]}: the key is too long")
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise _wrong(f"{where[:200]!a}: the key is no Unicode text") from error
    return tuple(steps)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not _is_nan(value)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _equal(value: Any, operand: Any) -> bool:
    """Equality of JSON values: 1 is 1.0, and true is not 1."""
    if isinstance(value, bool) or isinstance(operand, bool):
        return value is operand
    if isinstance(value, Mapping) and isinstance(operand, Mapping):
        return value.keys() == operand.keys() and all(_equal(value[key], operand[key]) for key in value)
    if isinstance(value, list) and isinstance(operand, list):
        return len(value) == len(operand) and all(map(_equal, value, operand))
    return bool(value == operand)


def _compared(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """A comparison of numbers with numbers and texts (by code points) with texts."""

    def holds(value: Any, operand: Any) -> bool:
        alike = (_is_number(value) and _is_number(operand)) or (
            isinstance(value, str) and isinstance(operand, str)
        )
        return alike and compare(value, operand)

    return holds


def _contains(value: Any, operand: str) -> bool:
    return isinstance(value, str) and operand.casefold() in value.casefold()


_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": _equal,
    "in": lambda value, operand: any(_equal(value, item) for item in operand),
    "gt": _compared(lambda value, operand: value > operand),
    "gte": _compared(lambda value, operand: value >= operand),
    "lt": _compared(lambda value, operand: value < operand),
    "lte": _compared(lambda value, operand: value <= operand),
    "contains": _contains,
}

_HINT = f"conditions: {', '.join(_OPERATORS)}, exists; an object itself is compared with eq"


def says(text: str, image_id: str, metadata: object) -> bool:
    """Whether a text stands in the id, or in a text of the metadata; capital and small letters are alike."""
    wanted = text.casefold()
    if wanted in image_id.casefold():
        return True
    left = [metadata]
    while left:  # not by recursion: metadata may go deeper than Python does
        value = left.pop()
        if isinstance(value, str):
            if wanted in value.casefold():
                return True
        else:
            left += _inside(value)
    return False


def goes_deeper(value: object, levels: int) -> bool:
    """Whether a JSON value has lists and objects in more than so many levels."""
    layer = [value]
    for _ in range(levels + 1):
        layer = [item for outer in layer for item in _inside(outer)]
        if not layer:
            return False
    return True


def _inside(value: object) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else []


def _shown(value: object) -> str:
    text = ascii(value) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _wrong(message: str, hint: str = "") -> FilterError:
    return FilterError(message, hint=hint or "see docs/guides/filtering.md")
