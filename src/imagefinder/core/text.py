"""Untrusted text, made safe to display."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text with every non-printable character replaced by an escape such as ``\x1b``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
