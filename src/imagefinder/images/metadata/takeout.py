"""Properties from the JSON files that Google Takeout writes next to images."""

from __future__ import annotations

import json
from typing import Any

from imagefinder.images.metadata import values

MAX_BYTES = 1 << 20
"""Largest file that is read."""


def properties(data: bytes) -> dict[str, Any]:
    """The properties in a file; those that are missing or invalid are ``None``. Its ``title`` is a file name."""
    if len(data) > MAX_BYTES:
        return {}
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    taken = found.get("photoTakenTime")
    places = [found.get(name) for name in ("geoData", "geoDataExif")]
    place = next(
        (one for one in places if isinstance(one, dict) and (one.get("latitude") or one.get("longitude"))), {}
    )
    return {
        "exif.taken": values.from_timestamp(taken.get("timestamp")) if isinstance(taken, dict) else None,
        "iptc.caption": values.text(found.get("description"), values.CAPTION),
        **values.coordinates(
            values.number(place.get("latitude"), -90, 90, 6),
            values.number(place.get("longitude"), -180, 180, 6),
            values.number(place.get("altitude"), -12_000, 100_000, 1) or None,
        ),
    }
