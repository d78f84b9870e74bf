r"""Filters on metadata, which restrict a search or a listing to some of the images.

A filter is a JSON object, and all of its members must match. ``docs/guides/filtering.md`` is the guide for users::

    {"shop": "north"}                        the key has this value
    {"price": {"gte": 5, "lt": 10}}          conditions: eq, in, gt, gte, lt, lte, contains, exists
    {"maker.country": "IT"}                  a key of a nested object; a dot within a key is written ``\.``
    {"any": [A, B]}, {"all": [A, B]}, {"not": A}    at least one filter, all filters, not this filter

A condition matches a list if it matches the list as a whole or one of its items.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from imagefinder.core.errors import FilterError
from imagefinder.core.file_metadata import PLACES
from imagefinder.core.json_limits import JsonLimits, contents

MAX_DEPTH = 8
"""Maximum depth of nested filters."""

MAX_CONDITIONS = 100
MAX_FILTERS = 200
"""Maximum number of filters in one filter, including itself."""

MAX_TEXT = 4096
"""Maximum length of a text to search for with ``contains``, characters."""

FILTER_LIMITS = JsonLimits(bytes=262_144, values=10_000, levels=64)
"""Largest filter as a whole; the other limits are stricter in their place."""

MAX_VALUES = 1000
"""Maximum number of values in one ``in`` list."""

MAX_LEVELS = 32
"""Maximum nesting of lists and objects in a value."""

Path: TypeAlias = tuple[str, ...]

_MISSING = object()


class Filter(Protocol):
    """A predicate on the metadata of an image."""

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether these metadata match."""
        ...


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on the value of one key.

    Attributes:
        path: The keys that lead to the value, outermost first.
        operator: ``eq``, ``in``, ``gt``, ``gte``, ``lt``, ``lte``, ``contains`` or ``exists``.
        operand: The value to compare with.
    """

    path: Path
    operator: str
    operand: Any

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether the value meets the condition; a missing value meets only ``exists: false``."""
        value: Any = metadata
        for step in self.path:
            value = value.get(step, _MISSING) if isinstance(value, Mapping) else _MISSING
        if self.operator == "exists":
            return (value is not _MISSING) is self.operand
        if value is _MISSING:
            return False
        compare = _OPERATORS[self.operator]
        values = [value, *value] if isinstance(value, list) else [value]
        return any(compare(item, self.operand) for item in values)


@dataclass(frozen=True, slots=True)
class All:
    """A filter that matches if all its parts match, or if it has none."""

    parts: tuple[Filter, ...]

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether all parts match."""
        return all(part.matches(metadata) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Any_:  # noqa: N801 - the name is that of the key
    """A filter that matches if at least one of its parts matches."""

    parts: tuple[Filter, ...]

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether at least one part matches."""
        return any(part.matches(metadata) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Not:
    """A filter that matches if its part does not."""

    part: Filter

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether the part does not match."""
        return not self.part.matches(metadata)


def parse(data: object, *, places: bool = True) -> Filter:
    """Parse a filter from JSON data.

    Args:
        data: The filter.
        places: Whether conditions on the places of images are allowed, which reveal them.

    Raises:
        FilterError: the data are not a valid filter; the message names the position or the limit.
    """
    try:
        violation = FILTER_LIMITS.violation(data)
    except (TypeError, ValueError, RecursionError):
        violation = None  # not JSON; the parser names the place
    if violation:
        raise _wrong(f"filter has {violation[0]}", hint="send a shorter filter")
    return _Parser(places=places).filter(data, "filter", 0)


def parse_optional(data: object, *, places: bool = True) -> Filter | None:
    """``parse``, but ``None`` for ``None``: no filter."""
    return None if data is None else parse(data, places=places)


class _Parser:
    def __init__(self, *, places: bool) -> None:
        self._places = places
        self._conditions = 0
        self._filters = 0

    def filter(self, data: object, where: str, depth: int) -> Filter:
        if not isinstance(data, Mapping):
            raise _wrong(f"{where} must be a JSON object, not {_shown(data)}")
        if depth > MAX_DEPTH:
            raise _wrong(f"{where}: filters can be nested at most {MAX_DEPTH} levels deep")
        self._filters += 1
        if self._filters > MAX_FILTERS:
            raise _wrong(f"a filter can contain at most {MAX_FILTERS} filters")
        parts: list[Filter] = []
        for key, value in data.items():
            if not isinstance(key, str):
                raise _wrong(f"{where}: keys must be strings, not {_shown(key)}")
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
        if not self._places and _reveals_places(path):
            raise places_not_shown(f"{where}: filters on places")
        conditions = dict(value) if isinstance(value, Mapping) else {"eq": value}
        if not conditions:
            raise _wrong(f"{where} has no condition", hint=_HINT)
        found: list[Filter] = []
        for operator, operand in conditions.items():
            self._conditions += 1
            if self._conditions > MAX_CONDITIONS:
                raise _wrong(f"a filter can have at most {MAX_CONDITIONS} conditions")
            _check(operator, operand, where)
            found.append(Condition(path, operator, operand))
        return found


def places_not_shown(what: str) -> FilterError:
    """The error for a request that would reveal the places of images."""
    return _wrong(
        f"{what} are not allowed",
        hint="set places = true (IMAGEFINDER_PLACES=true) to show where images were taken",
    )


def _reveals_places(path: Path) -> bool:
    """Whether a condition on this key depends on a place: it is that of a place, or of its whole namespace."""
    is_namespace = len(path) == 1 and any(name.startswith(f"{path[0]}.") for name in PLACES)
    return is_namespace or ".".join(path[:2]) in PLACES


def _check(operator: object, operand: object, where: str) -> None:
    """Reject operands that the operator cannot compare with."""
    if operator not in _OPERATORS and operator != "exists":
        raise _wrong(f"{where}: unknown condition {_shown(operator)}", hint=_HINT)
    inside = f"{where}.{operator}"
    match operator:
        case "exists":
            if not isinstance(operand, bool):
                raise _wrong(f"{inside} must be true or false, not {_shown(operand)}")
        case "in":
            if not isinstance(operand, list):
                raise _wrong(f"{inside} must be a list, not {_shown(operand)}")
            if len(operand) > MAX_VALUES:
                raise _wrong(f"{inside} has {len(operand)} values; the maximum is {MAX_VALUES}")
        case "contains":
            if not isinstance(operand, str):
                raise _wrong(f"{inside} must be a string, not {_shown(operand)}")
            if len(operand) > MAX_TEXT:
                raise _wrong(f"{inside} has {len(operand):,} characters; the maximum is {MAX_TEXT:,}")
        case "gt" | "gte" | "lt" | "lte":
            if not (isinstance(operand, str) or _is_number(operand)):
                raise _wrong(f"{inside} must be a number or a string, not {_shown(operand)}")
    if is_deeper(operand, MAX_LEVELS):
        raise _wrong(f"{inside} is nested more than {MAX_LEVELS} levels deep")
    try:
        # Metadata never contain a value that JSON cannot represent, nor half of a surrogate pair.
        json.dumps(operand, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _wrong(f"{inside} is not a JSON value") from error


def _path(key: str, where: str) -> Path:
    """Split a dotted key; a backslash escapes the character after it."""
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
        raise _wrong(f"{where[:200]!a}: the key is not valid Unicode") from error
    return tuple(steps)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not _is_nan(value)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _equal(value: Any, operand: Any) -> bool:
    """Equality of JSON values: 1 equals 1.0, and true does not equal 1."""
    if isinstance(value, bool) or isinstance(operand, bool):
        return value is operand
    if isinstance(value, Mapping) and isinstance(operand, Mapping):
        return value.keys() == operand.keys() and all(_equal(value[key], operand[key]) for key in value)
    if isinstance(value, list) and isinstance(operand, list):
        return len(value) == len(operand) and all(map(_equal, value, operand))
    return is_same_text(value, operand) if isinstance(value, str) else bool(value == operand)


def _compared(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Compare numbers with numbers and strings (by code points) with strings; no other values match."""

    def matches(value: Any, operand: Any) -> bool:
        comparable = (_is_number(value) and _is_number(operand)) or (
            isinstance(value, str) and isinstance(operand, str)
        )
        return comparable and compare(value, operand)

    return matches


def _contains(value: Any, operand: str) -> bool:
    return isinstance(value, str) and folded(operand) in folded(value)


_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": _equal,
    "in": lambda value, operand: any(_equal(value, item) for item in operand),
    "gt": _compared(lambda value, operand: value > operand),
    "gte": _compared(lambda value, operand: value >= operand),
    "lt": _compared(lambda value, operand: value < operand),
    "lte": _compared(lambda value, operand: value <= operand),
    "contains": _contains,
}

_HINT = f"conditions: {', '.join(_OPERATORS)}, exists; to compare with an object, use eq"


def is_same_text(one: str, other: object) -> bool:
    """Whether two strings are equal in some Unicode normalisation; ASCII strings are equal only to themselves."""
    if one == other:
        return True
    if not isinstance(other, str) or one.isascii() or other.isascii():
        return False
    return unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)


def folded(text: str) -> str:
    """The text without differences of case and Unicode normalisation."""
    return text.casefold() if text.isascii() else unicodedata.normalize("NFC", text.casefold())


def contains_text(text: str, image_id: str, metadata: object) -> bool:
    """Whether the id, or a string in the metadata, contains a text; case-insensitive.

    Raises:
        FilterError: the text is too long.
    """
    if len(text) > MAX_TEXT:
        raise _wrong(f"the text to search for has {len(text):,} characters; the maximum is {MAX_TEXT:,}")
    wanted = folded(text)
    if wanted in folded(image_id):
        return True
    remaining = [metadata]
    while remaining:  # no recursion: metadata may be nested deeper than Python's limit
        value = remaining.pop()
        if isinstance(value, str):
            if wanted in folded(value):
                return True
        else:
            remaining += contents(value)
    return False


def is_deeper(value: object, levels: int) -> bool:
    """Whether lists and objects in a JSON value are nested more than ``levels`` deep."""
    layer = [value]
    for _ in range(levels + 1):
        layer = [item for outer in layer for item in contents(outer)]
        if not layer:
            return False
    return True


def _shown(value: object) -> str:
    text = ascii(value) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _wrong(message: str, hint: str = "") -> FilterError:
    return FilterError(message, hint=hint or "see docs/guides/filtering.md")
