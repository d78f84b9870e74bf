"""Translate metadata filters to SQL conditions that preselect images.

A condition may accept images that do not match, but never rejects one that does; the caller applies the filter
itself to the rest. This way SQLite's rules for numbers, text and JSON cannot change a result.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from imagefinder.core.filters import All, Any_, Condition, Filter

_EXACT = 2**53
"""Integers up to this are exact as 64-bit floats."""

_PLAIN_KEY = re.compile(r'[^"\\\x00-\x1f\x7f]+')

_COMPARISONS = {"gt": ">=", "gte": ">=", "lt": "<=", "lte": "<="}
"""Never strict, because SQLite rounds very large numbers."""


@dataclass(frozen=True, slots=True)
class SqlCondition:
    """A condition that all matching rows of ``images`` satisfy.

    Attributes:
        sql: The expression.
        values: Values of its parameters.
    """

    sql: str
    values: tuple[str | int | float, ...] = ()


ALWAYS = SqlCondition("1")


def on_metadata(where: Filter | None) -> SqlCondition:
    """Translate a filter to a condition on the rows of ``images``.

    Metadata that SQLite cannot parse, because they are damaged or deeply nested, are left to the caller.
    """
    condition = to_sql(where)
    return SqlCondition(f"CASE WHEN json_valid(metadata) THEN {condition.sql} ELSE 1 END", condition.values)


def to_sql(where: Filter | None) -> SqlCondition:
    """Translate a filter to a condition."""
    match where:
        case Condition():
            return _condition(where)
        case All():
            return _joined([to_sql(part) for part in where.parts], " AND ")
        case Any_():
            return _joined([to_sql(part) for part in where.parts], " OR ")
        case _:  # a negated filter: its condition may accept too much, so its negation could reject a match
            return ALWAYS


def _condition(condition: Condition) -> SqlCondition:
    if not all(map(_PLAIN_KEY.fullmatch, condition.path)):
        return ALWAYS
    path = "$." + ".".join(f'"{step}"' for step in condition.path)
    operand = condition.operand
    match condition.operator:
        case "exists":
            return SqlCondition(f"json_type(metadata, ?) IS {'NOT ' if operand else ''}NULL", (path,))
        case "eq":
            return _item(path, [operand])
        case "in":
            return _item(path, operand)
        case "gt" | "gte" | "lt" | "lte" if not isinstance(operand, str):
            bound = _COMPARISONS[condition.operator]
            test = f"item.type IN ('integer', 'real') AND item.value {bound} ?"
            return SqlCondition(_EXISTS.format(test), (path, float(operand))) if abs(operand) <= _EXACT else ALWAYS
        case _:
            return SqlCondition("json_type(metadata, ?) IS NOT NULL", (path,))


_EXISTS = "EXISTS (SELECT 1 FROM json_each(metadata, ?) AS item WHERE {})"
"""A value that is not a list is a single row of json_each."""


def _item(path: str, operands: Sequence[object]) -> SqlCondition:
    """The condition that the value, or an item of the list, equals one of the operands."""
    plain: list[str | int | float] = []
    for operand in operands:
        is_number = isinstance(operand, int | float) and not isinstance(operand, bool) and abs(operand) <= _EXACT
        if isinstance(operand, str) and "\0" not in operand:
            plain.append(operand)
        elif is_number:
            plain.append(operand)  # type: ignore[arg-type] # mypy does not follow is_number
        else:
            return SqlCondition("json_type(metadata, ?) IS NOT NULL", (path,))
    if not plain:
        return SqlCondition("0")
    test = f"item.value IN ({', '.join('?' * len(plain))})"
    if any(isinstance(one, str) and not one.isascii() for one in plain):
        # Text that is not ASCII equals other normalisation forms of it.
        test = f"({test} OR item.value GLOB '*[^\x01-\x7f]*')"
    return SqlCondition(_EXISTS.format(test), (path, *plain))


def _joined(parts: Sequence[SqlCondition], operator: str) -> SqlCondition:
    if not parts:
        return ALWAYS
    return SqlCondition(
        f"({operator.join(part.sql for part in parts)})", tuple(value for part in parts for value in part.values)
    )
