"""The names of collections on a server."""

from __future__ import annotations

import re
import unicodedata

DEFAULT = "default"
"""Name of the default collection, whose folder is the setting ``collection``."""

COLLECTION_NAME = r"[a-z0-9][a-z0-9_-]{0,62}"
"""Pattern of collection names. No name can become a path that leads out of the folder."""

NAME_RULE = "up to 63 lower-case letters, digits, - and _, starting with a letter or digit"
"""The pattern in words."""


def suggested_name(text: str) -> str:
    """A valid name that is close to a text: ``My Photos`` -> ``my-photos``; empty if nothing remains."""
    letters = unicodedata.normalize("NFKD", text.replace("ß", "ss")).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_]+", "-", letters).strip("-_")[:63].rstrip("-")
