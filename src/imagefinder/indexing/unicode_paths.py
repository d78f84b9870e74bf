"""Find files whose names are written in another Unicode normalisation form than the given path."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

# ruff: noqa: PTH116, PTH117, PTH118, PTH206 - names may be any bytes, and Path would normalise some of them


def existing_path(path: str) -> str:
    """The path of an existing file that equals this path after Unicode normalisation.

    macOS writes file names decomposed (NFD), people type them composed (NFC). The path itself is returned if it
    exists, if nothing equals it, or if several names do.
    """
    if path.isascii() or os.path.lexists(path):
        return path
    found = os.sep if os.path.isabs(path) else ""
    for part in filter(None, path.split(os.sep)):
        candidate = os.path.join(found, part)
        if part in {os.curdir, os.pardir} or part.isascii() or os.path.lexists(candidate):
            found = candidate
            continue
        folder = found or os.curdir
        try:
            names = _names(folder, os.stat(folder).st_mtime_ns).get(_composed(part), ())
        except OSError:
            return path
        if len(names) != 1:
            return path
        found = os.path.join(found, names[0])
    return found if os.path.lexists(found) else path


@lru_cache(maxsize=64)
def _names(folder: str, _modified: int) -> Mapping[str, tuple[str, ...]]:
    """Composed name -> the names in a folder that it stands for; only names that are not ASCII."""
    found: dict[str, tuple[str, ...]] = {}
    for name in os.listdir(folder):  # noqa: PTH208 - names may be any bytes
        if not name.isascii():
            found[_composed(name)] = (*found.get(_composed(name), ()), name)
    return found


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
