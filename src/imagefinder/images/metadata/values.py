"""Values of properties: texts, times, numbers and coordinates, cleaned and within limits."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

TEXT = 500
CAPTION = 5000
"""Maximum length of a text and of a caption, characters; the rest is cut off."""

KEYWORDS = 100
"""Maximum number of keywords."""

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_TIME = re.compile(
    r"\s*(\d{4})[-:/.]?(\d\d)[-:/.]?(\d\d)(?:[T ]+(\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?)?"
    r"\s*(Z|[+-]\d\d:?\d\d)?\s*"
)


def text(value: object, limit: int = TEXT) -> str | None:
    """A text without control characters; ``None`` for anything else, or if nothing remains."""
    if isinstance(value, bytes):
        try:
            return text(value.decode(), limit)
        except UnicodeDecodeError:
            return text(value.decode("cp1252", "replace"), limit)
    if not isinstance(value, str):
        return None
    return _UNPRINTABLE.sub("", value[: 2 * limit]).strip()[:limit] or None


def texts(values: Iterable[object]) -> list[str] | None:
    """Distinct texts in their order; ``None`` if there are none."""
    found: dict[str, None] = {}
    for value in values:
        if (one := text(value, 200)) is not None:
            found[one] = None
        if len(found) == KEYWORDS:
            break
    return list(found) or None


def time(value: object, *, offset: object = None, fraction: object = None) -> str | None:
    """A time in ISO 8601, from the notations of EXIF, IPTC and XMP; ``None`` for anything else.

    Args:
        value: Date and time, with or without an offset; a date alone is a time without hours.
        offset: Offset from UTC, such as ``+02:00``, if the value has none.
        fraction: Digits after the point of the seconds, if the value has none.
    """
    found = _TIME.fullmatch(value) if isinstance(value, str) and len(value) < 100 else None
    if not found:
        return None
    year, month, day, hour, minute, second, digits, zone = found.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0))
    except ValueError:
        return None
    if hour is None:
        return moment.date().isoformat()
    if digits is None and isinstance(fraction, str) and re.fullmatch(r"\s*\d{1,9}\s*\0*", fraction):
        digits = fraction.strip("\0 ")
    parts = f".{digits[:3].ljust(3, '0')}" if digits else ""
    return moment.isoformat() + parts + (_offset(zone) or _offset(offset) or "")


def offset_between(local: str, utc: str | None) -> str | None:
    """The offset of a local time without one, from the same time in UTC; ``None`` unless it is plausible."""
    if utc is None or len(local) < 19 or len(local) > 23:
        return None
    try:
        difference = datetime.fromisoformat(local) - datetime.fromisoformat(utc).replace(tzinfo=None)
    except ValueError:
        return None
    quarters = round(difference / timedelta(minutes=15))
    if abs(difference - quarters * timedelta(minutes=15)) > timedelta(minutes=2) or abs(quarters) > 14 * 4:
        return None
    return timezone(quarters * timedelta(minutes=15)).tzname(None).removeprefix("UTC") or "+00:00"


def from_timestamp(seconds: object) -> str | None:
    """The time of a POSIX timestamp, in UTC; ``None`` if it is none."""
    try:
        return datetime.fromtimestamp(int(str(seconds)), UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return None


def number(value: object, low: float, high: float, digits: int) -> float | None:
    """A number in a range, rounded; ``None`` for anything else."""
    try:
        found = float(value)  # type: ignore[arg-type] # anything else raises
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return round(found, digits) + 0.0 if math.isfinite(found) and low <= found <= high else None


def rating(value: object) -> int | None:
    """A rating from 1 to 5, or -1 for a rejected image; ``None`` for 0, which means that there is none."""
    found = number(value, -1, 5, 0)
    return int(found) if found else None


def coordinates(latitude: float | None, longitude: float | None, altitude: float | None) -> dict[str, Any]:
    """The properties of a place; none without both coordinates, or at (0, 0), which programs write for unknown."""
    if latitude is None or longitude is None or latitude == longitude == 0.0:
        return {}
    return {"exif.latitude": latitude, "exif.longitude": longitude, "exif.altitude": altitude}


def camera(make: str | None, model: str | None) -> str | None:
    """Make and model of a camera, without the repeated make."""
    if not make or not model:
        return model or make
    first = make.split()[0].lower()
    return model if model.lower().startswith(first) else f"{make} {model}"


def _offset(value: object) -> str | None:
    if value == "Z":
        return "+00:00"
    found = re.fullmatch(r"\s*([+-])(\d\d):?(\d\d)\s*\0*", value) if isinstance(value, str) else None
    if not found or int(found[2]) > 14 or int(found[3]) > 59:
        return None
    return f"{found[1]}{found[2]}:{found[3]}"
