"""Translate metadata filters to conditions of SQLite that preselect images."""

from __future__ import annotations

import re
from collections.abc import Sequence

from imagefinder.core.file_metadata import NAMESPACES
from imagefinder.core.filters import Condition, Filter
from imagefinder.stores.conditions import (
    ALWAYS,
    COMPARISONS,
    EXACT,
    SqlCondition,
    is_plain_text,
    joined,
    like_pattern,
    to_sql,
)

_OF_FILE = "coalesce(properties, '{}')"
_PLAIN_KEY = re.compile(r'[^"\\\x00-\x1f\x7f]+')


def on_metadata(where: Filter | None) -> SqlCondition:
    """Translate a filter to a condition on the rows of ``images``, joined with ``file_metadata``.

    Metadata that SQLite cannot parse, because they are damaged or deeply nested, are left to the caller.
    """
    condition = to_sql(where, _condition)
    if condition == ALWAYS:
        return ALWAYS
    valid = "json_valid(metadata)"
    if _OF_FILE in condition.sql:
        valid += f" AND json_valid({_OF_FILE})"
    return SqlCondition(f"CASE WHEN {valid} THEN {condition.sql} ELSE 1 END", condition.values)


def on_text(text: str) -> SqlCondition:
    """A condition on the images whose id or metadata contain a text; accepts those that are not ASCII."""
    if not is_plain_text(text):
        return ALWAYS
    pattern = like_pattern(text)
    tests = [
        # The length of text in characters ends at a NUL.
        f"({column} LIKE ? ESCAPE '!' OR length({column}) <> length(CAST({column} AS BLOB)))"
        for column in ("images.id", "images.metadata", _OF_FILE)
    ]
    # The caller reports damaged metadata.
    return SqlCondition(f"({' OR '.join(tests)} OR images.metadata NOT LIKE '{{%}}')", (pattern,) * 3)


def _condition(condition: Condition) -> SqlCondition:
    if not all(map(_PLAIN_KEY.fullmatch, condition.path)):
        return ALWAYS
    own = _on_column("metadata", condition)
    if condition.path[0] not in NAMESPACES or own == ALWAYS:
        return own
    # Collections of earlier versions may have metadata of users under these keys.
    return joined([_on_column(_OF_FILE, condition), own], " OR ")


def _on_column(column: str, condition: Condition) -> SqlCondition:
    path = "$." + ".".join(f'"{step}"' for step in condition.path)
    operand = condition.operand
    match condition.operator:
        case "exists":
            return SqlCondition(f"json_type({column}, ?) IS {'NOT ' if operand else ''}NULL", (path,))
        case "eq":
            return _item(column, path, [operand])
        case "in":
            return _item(column, path, operand)
        case "gt" | "gte" | "lt" | "lte" if not isinstance(operand, str):
            bound = COMPARISONS[condition.operator]
            test = f"item.type IN ('integer', 'real') AND item.value {bound} ?"
            return (
                SqlCondition(_EXISTS.format(column, test), (path, float(operand)))
                if abs(operand) <= EXACT
                else ALWAYS
            )
        case "gt" | "gte" | "lt" | "lte" if isinstance(operand, str) and is_plain_text(operand):
            bound = COMPARISONS[condition.operator]
            test = f"item.type = 'text' AND (item.value {bound} ? OR item.value GLOB '{_NOT_PLAIN}')"
            return SqlCondition(_EXISTS.format(column, test), (path, operand))
        case _:
            return SqlCondition(f"json_type({column}, ?) IS NOT NULL", (path,))


_NOT_PLAIN = "*[^\x01-\x7f]*"
"""Text that is not ASCII, which equals other normalisation forms of it."""

_EXISTS = "EXISTS (SELECT 1 FROM json_each({}, ?) AS item WHERE {})"
"""A value that is not a list is a single row of json_each."""


def _item(column: str, path: str, operands: Sequence[object]) -> SqlCondition:
    """The condition that the value, or an item of the list, equals one of the operands."""
    plain: list[str | int | float] = []
    for operand in operands:
        is_number = isinstance(operand, int | float) and not isinstance(operand, bool) and abs(operand) <= EXACT
        if isinstance(operand, str) and "\0" not in operand:
            plain.append(operand)
        elif is_number:
            plain.append(operand)  # type: ignore[arg-type] # mypy does not follow is_number
        else:
            return SqlCondition(f"json_type({column}, ?) IS NOT NULL", (path,))
    if not plain:
        return SqlCondition("0")
    test = f"item.value IN ({', '.join('?' * len(plain))})"
    if any(isinstance(one, str) and not one.isascii() for one in plain):
        test = f"({test} OR item.value GLOB '{_NOT_PLAIN}')"
    return SqlCondition(_EXISTS.format(column, test), (path, *plain))
