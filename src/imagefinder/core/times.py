"""Timestamps of the REST API and of jobs: ISO 8601 in UTC, with milliseconds."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def iso(seconds: float) -> str:
    """The timestamp for a time in seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> str:
    """The timestamp for the current time."""
    return iso(time.time())
