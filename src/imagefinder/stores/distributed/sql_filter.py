"""Translate metadata filters to conditions of PostgreSQL that preselect images."""

from __future__ import annotations

import json
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


def on_metadata(where: Filter | None) -> SqlCondition:
    """Translate a filter to a condition on the rows of ``images``; accepts those without ``tags``."""
    condition = to_sql(where, _condition)
    if condition == ALWAYS:
        return ALWAYS
    return SqlCondition(f"(tags IS NULL OR {condition.sql})", condition.values)


def on_text(text: str) -> SqlCondition:
    """A condition on the images whose id or metadata contain a text; accepts those that are not ASCII."""
    if not is_plain_text(text):
        return ALWAYS
    pattern = like_pattern(text)
    # In the format "escape", bytes that are not ASCII, and NUL, have a backslash.
    return SqlCondition(
        "(encode(images.id, 'escape') COLLATE \"C\" ILIKE %s ESCAPE '!'"
        " OR strpos(encode(images.id, 'escape'), chr(92)) > 0"
        " OR images.metadata COLLATE \"C\" ILIKE %s ESCAPE '!'"
        " OR octet_length(images.metadata) <> length(images.metadata)"
        " OR images.properties COLLATE \"C\" ILIKE %s ESCAPE '!'"
        " OR octet_length(images.properties) <> length(images.properties))",
        (pattern,) * 3,
    )


def tags_of(metadata: str) -> str | None:
    """The metadata for the column ``tags``; ``None`` if PostgreSQL's ``jsonb`` cannot represent them: NUL."""
    return None if r"\u0000" in metadata else metadata


def _condition(condition: Condition) -> SqlCondition:
    if any("\0" in step for step in condition.path):
        return ALWAYS
    own = _on_column("tags", condition)
    if condition.path[0] not in NAMESPACES or own == ALWAYS:
        return own
    # Collections of earlier versions may have metadata of users under these keys.
    return joined([_on_column("file_tags", condition), own], " OR ")


def _on_column(column: str, condition: Condition) -> SqlCondition:
    path, operand = list(condition.path), condition.operand
    present = SqlCondition(f"{column} #> %s IS NOT NULL", (path,))
    match condition.operator:
        case "exists":
            return present if operand else ALWAYS
        case "eq":
            return _equals(column, condition, [operand])
        case "in":
            return _equals(column, condition, operand)
        case "gt" | "gte" | "lt" | "lte" if not isinstance(operand, str) and abs(operand) <= EXACT:
            steps = "".join(f".{json.dumps(step)}" for step in path)
            test = f"lax ${steps} ? (@ {COMPARISONS[condition.operator]} $operand)"
            return SqlCondition(
                f"jsonb_path_exists({column}, %s::jsonpath, %s::jsonb)", (test, json.dumps({"operand": operand}))
            )
        case _:
            return present


def _equals(column: str, condition: Condition, operands: Sequence[object]) -> SqlCondition:
    """The condition that the value, or an item of the list, equals one of the operands."""
    path = list(condition.path)
    parts = []
    for operand in operands:
        if not _is_plain(operand):
            return SqlCondition(f"{column} #> %s IS NOT NULL", (path,))
        for value in (operand, [operand]):
            metadata: object = value
            for step in reversed(path):
                metadata = {step: metadata}
            parts.append(SqlCondition(f"{column} @> %s::jsonb", (json.dumps(metadata, ensure_ascii=False),)))
    return joined(parts, " OR ") if parts else SqlCondition("false")


def _is_plain(operand: object) -> bool:
    """Whether PostgreSQL and Python agree what equals an operand: text may equal other normalisation forms."""
    if isinstance(operand, str):
        return operand.isascii() and "\0" not in operand
    return isinstance(operand, int | float) and not isinstance(operand, bool) and abs(operand) <= EXACT
