"""Filters on metadata as far as SQLite can say them.

It leaves out most of what does not match and nothing that does; the caller tests the rest again. So no rule
of SQLite about numbers, texts or JSON can change an answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from imagefinder.core.filters import All, Any_, Condition, Filter

_EXACT = 2**53
"""Whole numbers up to this are the same in every arithmetic."""

_PLAIN_KEY = re.compile(r'[^"\\\x00-\x1f\x7f]+')

_COMPARISONS = {"gt": ">=", "gte": ">=", "lt": "<=", "lte": "<="}
"""Not strict: a number too large for SQLite is rounded."""


@dataclass(frozen=True, slots=True)
class Likely:
    """A condition that all matching rows of ``images`` fulfil.

    Attributes:
        sql: The expression.
        values: Of its question marks.
    """

    sql: str
    values: tuple[str | int | float, ...] = ()


ANYTHING = Likely("1")


def likely(where: Filter | None) -> Likely:
    """What SQLite can say of a filter."""
    match where:
        case Condition():
            return _condition(where)
        case All():
            return _joined([likely(part) for part in where.parts], " AND ")
        case Any_():
            return _joined([likely(part) for part in where.parts], " OR ")
        case _:  # of what is not fulfilled, less than all is known here
            return ANYTHING


def _condition(condition: Condition) -> Likely:
    if not all(map(_PLAIN_KEY.fullmatch, condition.path)):
        return ANYTHING
    place = "$." + ".".join(f'"{step}"' for step in condition.path)
    operand = condition.operand
    match condition.operator:
        case "exists":
            return Likely(f"json_type(metadata, ?) IS {'NOT ' if operand else ''}NULL", (place,))
        case "eq":
            return _item(place, [operand])
        case "in":
            return _item(place, operand)
        case "gt" | "gte" | "lt" | "lte" if not isinstance(operand, str):
            bound = _COMPARISONS[condition.operator]
            test = f"item.type IN ('integer', 'real') AND item.value {bound} ?"
            return Likely(_EXISTS.format(test), (place, float(operand))) if abs(operand) <= _EXACT else ANYTHING
        case _:
            return Likely("json_type(metadata, ?) IS NOT NULL", (place,))


_EXISTS = "EXISTS (SELECT 1 FROM json_each(metadata, ?) AS item WHERE {})"
"""Of a value that is no list the one row is the value itself."""


def _item(place: str, operands: Sequence[object]) -> Likely:
    """That the value, or an item of the list, is one of these."""
    plain: list[str | int | float] = []
    for operand in operands:
        is_number = isinstance(operand, int | float) and not isinstance(operand, bool) and abs(operand) <= _EXACT
        if isinstance(operand, str) and "\0" not in operand:
            plain.append(operand)
        elif is_number:
            plain.append(operand)  # type: ignore[arg-type] # mypy does not follow is_number
        else:
            return Likely("json_type(metadata, ?) IS NOT NULL", (place,))
    if not plain:
        return Likely("0")
    marks = ", ".join("?" * len(plain))
    return Likely(_EXISTS.format(f"item.value IN ({marks})"), (place, *plain))


def _joined(parts: Sequence[Likely], how: str) -> Likely:
    if not parts:
        return ANYTHING
    return Likely(
        f"({how.join(part.sql for part in parts)})", tuple(value for part in parts for value in part.values)
    )
