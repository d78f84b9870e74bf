"""Removes server paths from responses."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from imagefinder.core.addresses import is_web_address


def redacted(text: str, folders: Iterable[str]) -> str:
    """The text without these folders: paths below a folder become relative, the folder itself becomes its name."""
    for folder in folders:
        base = folder.rstrip(os.sep)
        if base:
            text = text.replace(base + os.sep, "").replace(base, Path(base).name)
    return text


def public_uri(uri: str) -> str:
    """The URI if it is an http(s) URL; otherwise an empty string."""
    return uri if is_web_address(uri) else ""
