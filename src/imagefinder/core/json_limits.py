"""Limits on the size of JSON values from users, checked before they are copied, stored or searched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """Largest size of a JSON value.

    Attributes:
        bytes: Length of its JSON text in UTF-8.
        values: Number of values in it, including lists and objects.
        levels: Nesting depth of its lists and objects.
    """

    bytes: int
    values: int
    levels: int

    def violation(self, value: object) -> tuple[str, int] | None:
        """The limit that a value exceeds: a sentence about it, and its number; ``None`` if it exceeds none.

        Takes time and memory in proportion to the limits, not to the value.

        Raises:
            TypeError, ValueError: it is not a JSON value.
        """
        layer, levels, values, letters = [value], 0, 1, 0
        while layer:
            inner: list[Any] = []
            for item in layer:
                if isinstance(item, str):
                    letters += len(item)
                elif isinstance(item, Mapping):
                    letters += sum(len(key) for key in item if isinstance(key, str))
                values += _count(item)
                if values > self.values:
                    return f"more than {self.values:,} values", self.values
                if letters > self.bytes:
                    return f"more than {self.bytes:,} bytes as JSON", self.bytes
                inner += contents(item)
            if inner:
                levels += 1
            if levels > self.levels:
                return f"lists and objects nested more than {self.levels} levels deep", self.levels
            layer = inner
        if len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode()) > self.bytes:
            return f"more than {self.bytes:,} bytes as JSON", self.bytes
        return None


def contents(value: object) -> list[Any]:
    """The values directly in a list or object; none for other values."""
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []


def _count(value: object) -> int:
    return len(value) if isinstance(value, Mapping | list | tuple) else 0
