"""Properties from EXIF, by Pillow's parser.

Source: CIPA DC-008 (Exif 3.0), and the tags XPTitle to XPKeywords and Rating of Windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from imagefinder.images.metadata import values

_DESCRIPTION, _MAKE, _MODEL, _ORIENTATION, _ARTIST, _COPYRIGHT = 270, 271, 272, 274, 315, 33432
_RATING, _XP_TITLE, _XP_AUTHOR, _XP_KEYWORDS = 18246, 40091, 40093, 40094
_EXIF, _GPS = 0x8769, 0x8825
_LENS = 42036
_TIMES = ((36867, 36881, 37521), (36868, 36882, 37522))
"""Tags of date and time, offset and fraction: of taking the image, and of digitising it."""

_PLACEHOLDERS = frozenset(
    {"olympus digital camera", "sony dsc", "minolta digital camera", "kodak digital still camera"}
)
"""Descriptions that cameras write into every image."""


def properties(exif: Image.Exif) -> dict[str, Any]:
    """The properties in EXIF data; those that are missing or invalid are ``None`` or left out."""
    details, gps = exif.get_ifd(_EXIF), exif.get_ifd(_GPS)
    orientation = values.number(exif.get(_ORIENTATION), 1, 8, 0)
    description = _text(exif.get(_DESCRIPTION), values.CAPTION)
    if description and description.lower() in _PLACEHOLDERS:
        description = None
    return {
        "exif.taken": _taken(details, gps),
        "exif.camera": values.camera(_text(exif.get(_MAKE)), _text(exif.get(_MODEL))),
        "exif.lens": _text(details.get(_LENS)),
        "exif.orientation": int(orientation) if orientation else None,
        "iptc.title": _wide(exif.get(_XP_TITLE)),
        "iptc.caption": description,
        "iptc.keywords": values.texts((_wide(exif.get(_XP_KEYWORDS)) or "").split(";")),
        "iptc.creator": _text(exif.get(_ARTIST)) or _wide(exif.get(_XP_AUTHOR)),
        "iptc.copyright": _text(exif.get(_COPYRIGHT)),
        "xmp.rating": values.rating(exif.get(_RATING)),
        **_place(gps),
    }


def _taken(details: Mapping[int, Any], gps: Mapping[int, Any]) -> str | None:
    for time, offset, fraction in _TIMES:
        found = values.time(_text(details.get(time)), offset=details.get(offset), fraction=details.get(fraction))
        if found:
            return found + (values.offset_between(found, _utc(gps)) or "")
    return None


def _utc(gps: Mapping[int, Any]) -> str | None:
    """Date and time of the position, which are in UTC."""
    date, clock = gps.get(29), gps.get(7)
    if not isinstance(date, str) or not isinstance(clock, tuple) or len(clock) != 3:
        return None
    parts = [values.number(part, 0, 60, 0) for part in clock]
    if any(part is None for part in parts):
        return None
    return values.time(f"{date.strip(chr(0))} " + ":".join(f"{int(part or 0):02}" for part in parts))


def _place(gps: Mapping[int, Any]) -> dict[str, Any]:
    altitude = values.number(gps.get(6), 0, 100_000, 1)
    below = gps.get(5) in (1, b"\1")
    return values.coordinates(
        _degrees(gps.get(2), gps.get(1), "S", 90),
        _degrees(gps.get(4), gps.get(3), "W", 180),
        -altitude if altitude and below else altitude,
    )


def _degrees(parts: object, direction: object, negative: str, most: int) -> float | None:
    if not isinstance(parts, tuple) or len(parts) != 3:
        return None
    found = [values.number(part, 0, 360, 9) for part in parts]
    if any(part is None for part in found):
        return None
    degrees = sum((part or 0.0) / 60**place for place, part in enumerate(found))
    sign = -1 if isinstance(direction, str) and direction.strip("\0 ").upper() == negative else 1
    return values.number(sign * degrees, -most, most, 6)


def _text(value: object, limit: int = values.TEXT) -> str | None:
    """A text; Pillow decodes all of them as Latin-1, but today's programs write UTF-8."""
    if isinstance(value, str):
        try:
            value = value.encode("latin-1")
        except UnicodeEncodeError:
            return values.text(value, limit)
        value = value.split(b"\0", 1)[0]
    return values.text(value, limit)


def _wide(value: object) -> str | None:
    """A text that Windows wrote, in UTF-16."""
    if isinstance(value, tuple) and all(isinstance(one, int) and 0 <= one < 256 for one in value):
        value = bytes(value)
    return values.text(value.decode("utf-16-le", "replace"), values.CAPTION) if isinstance(value, bytes) else None
