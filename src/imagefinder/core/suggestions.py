"""Suggestions for misspelt names."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

_LONGEST = 200  # characters; comparing takes time in proportion to the square
_MOST = 3


def similar(name: str, names: Iterable[str]) -> list[str]:
    """The known names that a misspelt one most resembles, best first; letter case does not matter."""
    if len(name) > _LONGEST:
        return []
    known: dict[str, str] = {}
    for one in names:
        known.setdefault(_folded(one), one)
    if _folded(name) in known:
        return [known[_folded(name)]]
    found = difflib.get_close_matches(_folded(name), known, n=_MOST, cutoff=0.65)
    return [known[one] for one in found]


def did_you_mean(name: str, names: Iterable[str], *, otherwise: str = "") -> str:
    """The text ``did you mean a or b?``, followed by ``otherwise``; only that if nothing is similar."""
    found = similar(name, names)
    suggestion = f"did you mean {' or '.join(found)}?" if found else ""
    return "  ".join(part for part in (suggestion, otherwise) if part)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
