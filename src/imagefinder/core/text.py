"""Text for people: untrusted text made safe to display, and relations in words."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text with every non-printable character replaced by an escape such as ``\x1b``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def hedged(relation: str, decision: str | None) -> str:
    """A relation in words as certain as the decision: ``perhaps part of`` for a possible match."""
    return f"perhaps {relation}" if decision == "possible" and relation != "similar" else relation
