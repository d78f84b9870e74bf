"""Cells of comma-separated values, as the command line and the REST service write them."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters of texts that spreadsheets take for formulas."""


def cell(value: object) -> object:
    """A value as a cell: a list joined by semicolons, and a text that would be a formula after an apostrophe."""
    shown = "; ".join(value) if isinstance(value, list | tuple) else value
    return f"'{shown}" if isinstance(shown, str) and shown.startswith(_FORMULA) else shown
