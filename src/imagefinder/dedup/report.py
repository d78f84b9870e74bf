"""The last report of duplicates, kept with the collection: derived, so it is made again when it cannot be read."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from imagefinder.core.results import DuplicateReport

NAME = "duplicates.json"
"""Of the derived data."""


def to_bytes(report: DuplicateReport, *, state: Mapping[str, Any], computed_at: str) -> bytes:
    """What is kept.

    Args:
        report: The report.
        state: Of the collection when the report was begun; JSON.
        computed_at: ISO 8601, UTC.
    """
    content = {"computed_at": computed_at, "state": dict(state), "report": report.to_dict()}
    written = json.dumps({"checksum": _checksum(content), **content}, ensure_ascii=False)
    return written.encode("utf-8", "surrogatepass")


def from_bytes(data: bytes) -> Mapping[str, Any] | None:
    """``computed_at``, ``state`` and ``report`` in their JSON forms; ``None`` if this is not what was written."""
    try:
        content = json.loads(data.decode("utf-8", "surrogatepass"))
        # Groups are what people delete pictures by: one letter that changed must not name another picture.
        if content.pop("checksum") != _checksum(content):
            return None
        if not isinstance(content["computed_at"], str) or not isinstance(content["state"], dict):
            return None
        return content if all(_is_group(group) for group in content["report"]["groups"]) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _is_group(group: Any) -> bool:
    return isinstance(group["ids"], list) and all(isinstance(image_id, str) for image_id in group["ids"])


def _checksum(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content).encode())
