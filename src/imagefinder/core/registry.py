"""Names to objects: built-ins and plug-ins enter by the same door, the package's entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from imagefinder.core.errors import SettingsError

METHODS = "imagefinder.methods"
"""Entry-point group of functions ``(settings: Settings) -> Method``."""

STORES = "imagefinder.stores"
"""Entry-point group of functions ``(location: Path, settings: Settings, create: bool) -> Store``."""


def names(group: str) -> list[str]:
    """The names installed in a group, sorted; nothing is imported."""
    return sorted({point.name for point in entry_points(group=group)})


def load(group: str, name: str) -> Any:
    """Import the object behind a name.

    Raises:
        KeyError: no such name in the group.
        SettingsError: the name is there but its package cannot be imported.
    """
    points: list[EntryPoint] = list(entry_points(group=group, name=name))
    if not points:
        raise KeyError(name)
    try:
        return points[0].load()
    except (ImportError, AttributeError) as error:
        owner = points[0].dist.name if points[0].dist else "an unknown package"
        raise SettingsError(
            f"{name} ({points[0].value}, from {owner}) cannot be loaded: {error}",
            hint=f"reinstall {owner}, or uninstall it to go on without {name}",
        ) from error
