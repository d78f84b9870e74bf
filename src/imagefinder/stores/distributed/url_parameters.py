"""Parameters of the locations of object stores and of vector servers: ``?name=value&timeout=SECONDS``."""

from __future__ import annotations

from collections.abc import Set
from urllib.parse import parse_qsl

from imagefinder.core.errors import SettingsError
from imagefinder.core.location import shown


def parameters(setting: str, location: str, query: str | None, known: Set[str]) -> dict[str, str]:
    """The parameters of a location.

    Args:
        setting: Name of the setting, for messages.
        location: The location.
        query: The part after the question mark; ``None`` without one.
        known: Names of the parameters that there are.

    Raises:
        SettingsError: a parameter is not known.
    """
    given = dict(parse_qsl(query or "", keep_blank_values=True))
    if unknown := sorted(set(given) - known):
        raise SettingsError(
            f"{setting}: unknown parameter {unknown[0]!r} of {shown(location)}",
            hint=f"the parameters are {', '.join(sorted(known))}",
        )
    return given


def timeout(setting: str, location: str, text: str, default: float) -> float:
    """The time limit of a call in seconds, from the parameter ``timeout``.

    Raises:
        SettingsError: it is not a number from 0.3 to 3600.
    """
    try:
        seconds = float(text or default)
    except ValueError:
        seconds = 0.0
    if not 0.3 <= seconds <= 3600:
        raise SettingsError(
            f"{setting}: the timeout of {shown(location)} must be 0.3 to 3600 seconds, not {text!r:.40}"
        )
    return seconds
