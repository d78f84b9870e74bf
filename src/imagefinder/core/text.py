"""Text that comes from elsewhere, made safe to show."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text with everything that is not a visible character or a space written as ``\x1b``-like escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
