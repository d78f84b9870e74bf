"""Conditions in SQL that preselect images for a metadata filter; each database has its own tests of single values.

A condition may accept images that do not match, but never rejects one that does; the caller applies the filter
itself to the rest. This way a database's rules for numbers, text and JSON cannot change a result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from imagefinder.core.filters import All, Any_, Condition, Filter

EXACT = 2**53
"""Integers up to this are exact as 64-bit floats."""

COMPARISONS = {"gt": ">=", "gte": ">=", "lt": "<=", "lte": "<="}
"""Operators in SQL; never strict, because databases round numbers in other ways than Python."""


@dataclass(frozen=True, slots=True)
class SqlCondition:
    """A condition that all matching rows of ``images`` satisfy.

    Attributes:
        sql: The expression.
        values: Values of its parameters.
    """

    sql: str
    values: tuple[Any, ...] = ()


ALWAYS = SqlCondition("true")


def to_sql(where: Filter | None, of_condition: Callable[[Condition], SqlCondition]) -> SqlCondition:
    """Translate a filter to a condition.

    Args:
        where: The filter.
        of_condition: Translates a condition on one key.
    """
    match where:
        case Condition():
            return of_condition(where)
        case All():
            return joined([to_sql(part, of_condition) for part in where.parts], " AND ")
        case Any_():
            return joined([to_sql(part, of_condition) for part in where.parts], " OR ")
        case _:  # a negated filter: its condition may accept too much, so its negation could reject a match
            return ALWAYS


def joined(parts: Sequence[SqlCondition], operator: str) -> SqlCondition:
    """Several conditions with an operator between them."""
    if not parts:
        return ALWAYS
    return SqlCondition(
        f"({operator.join(part.sql for part in parts)})", tuple(value for part in parts for value in part.values)
    )


def is_plain_text(text: str) -> bool:
    """Whether JSON and databases contain a text to search for as it is: printable ASCII without escapes."""
    return text.isascii() and text.isprintable() and not set(text) & set('"\\')


def like_pattern(text: str) -> str:
    """The pattern of ``LIKE ... ESCAPE '!'`` for values that contain a text."""
    return f"%{''.join(f'!{one}' if one in '!%_' else one for one in text)}%"
