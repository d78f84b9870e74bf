"""Keeps where files are on the server out of its answers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from imagefinder.core.addresses import is_web_address


def redacted(text: str, folders: Iterable[str]) -> str:
    """A text without these folders: paths below one become relative, and the folder itself its bare name."""
    for folder in folders:
        base = folder.rstrip(os.sep)
        if base:
            text = text.replace(base + os.sep, "").replace(base, Path(base).name)
    return text


def public_uri(uri: str) -> str:
    """A URI where it is an http(s) URL; otherwise empty."""
    return uri if is_web_address(uri) else ""
