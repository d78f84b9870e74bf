"""Recognition of web addresses."""

from __future__ import annotations


def is_web_address(text: str) -> bool:
    """Whether a string is an ``http`` or ``https`` URL (case-insensitive)."""
    return text.lower().startswith(("http://", "https://"))
