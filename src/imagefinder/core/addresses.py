"""Which texts are web addresses."""

from __future__ import annotations


def is_web_address(text: str) -> bool:
    """Whether a text is an ``http`` or ``https`` URL, in any case of letters."""
    return text.lower().startswith(("http://", "https://"))
