"""The stored duplicate report of a collection; derived data, which is recomputed if it cannot be read."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagefinder.core.results import DuplicateReport
from imagefinder.core.serialization import from_json, to_json

NAME = "duplicates.json"
"""Name of the report among the derived data of a store."""

_FORMER_WORDS = {"closer look": "thumbnails", "frame": "whole image"}
"""``Evidence.found_by`` as version 0.1 wrote it -> today's word."""


@dataclass(frozen=True, slots=True)
class KeptReport:
    """A stored duplicate report, with the state of the collection that it describes.

    Attributes:
        computed_at: Time of the computation; ISO 8601, UTC.
        state: State of the collection before the computation; a JSON object.
        report: The report.
    """

    computed_at: str
    state: Mapping[str, Any]
    report: DuplicateReport


def to_bytes(report: DuplicateReport, *, state: Mapping[str, Any], computed_at: str) -> bytes:
    """Serialise a report for storage.

    Args:
        report: The report.
        state: State of the collection before the computation; a JSON object.
        computed_at: Time of the computation; ISO 8601, UTC.
    """
    content = {"computed_at": computed_at, "state": dict(state), "report": to_json(report)}
    written = json.dumps({"checksum": _checksum(content), **content}, ensure_ascii=False)
    return written.encode("utf-8", "surrogatepass")


def from_bytes(data: bytes) -> KeptReport | None:
    """The report that ``to_bytes`` serialised; ``None`` if the data are damaged or of an earlier version."""
    try:
        content = _content(data)
        return None if _is_former(content) else from_json(KeptReport, _current_words(content))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def is_intact(data: bytes) -> bool:
    """Whether data are an undamaged report, of this version or of one that is computed again."""
    try:
        return _is_former(_content(data)) or from_bytes(data) is not None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _content(data: bytes) -> Any:
    content = json.loads(data.decode("utf-8", "surrogatepass"))
    # Users delete images by these groups: a single changed letter must not name another image.
    if content.pop("checksum") != _checksum(content):
        raise ValueError("the checksum does not match")
    return content


def _is_former(content: Any) -> bool:
    """Whether a report proposes files without having looked at them."""
    return not all("spare" in group for group in content["report"]["groups"])


def _current_words(content: Any) -> Any:
    for group in content["report"]["groups"]:
        for pair in group["pairs"]:
            if pair["evidence"]:
                word = pair["evidence"]["found_by"]
                pair["evidence"]["found_by"] = _FORMER_WORDS.get(word, word)
    return content


def _checksum(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content).encode())
