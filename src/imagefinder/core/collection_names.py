"""The names of collections on a server."""

from __future__ import annotations

DEFAULT = "default"
"""Name of the default collection, whose folder is the setting ``collection``."""

COLLECTION_NAME = r"[a-z0-9][a-z0-9_-]{0,62}"
"""Pattern of collection names. No name can become a path that leads out of the folder."""
