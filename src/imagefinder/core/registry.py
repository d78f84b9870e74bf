"""Registry of methods and stores: built-ins and plug-ins alike are registered as entry points of a package."""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, PackageNotFoundError, distribution, entry_points
from typing import Any

from imagefinder.core.errors import SettingsError

METHODS = "imagefinder.methods"
"""Entry-point group for methods: functions ``(settings: Settings) -> Method``."""

STORES = "imagefinder.stores"
"""Entry-point group for stores: functions ``(location: str, settings: Settings, create: bool) -> Store``.

The setting ``store`` names the store of a path; the scheme of a URL names its store, for example ``s3`` that of
``s3://photos``."""


def names(group: str) -> list[str]:
    """The names registered in a group, sorted; nothing is imported."""
    return sorted({point.name for point in _installed(tuple(sys.path)).select(group=group)})


def load(group: str, name: str) -> Any:
    """Import the object registered under a name; a built-in one cannot be replaced.

    Raises:
        KeyError: the group has no such name.
        SettingsError: the package that registered the name cannot be imported.
    """
    points: list[EntryPoint] = list(_built_in().select(group=group, name=name))
    points = points or list(_installed(tuple(sys.path)).select(group=group, name=name))
    if not points:
        raise KeyError(name)
    try:
        return points[0].load()
    except (ImportError, AttributeError) as error:
        owner = points[0].dist.name if points[0].dist else "an unknown package"
        raise SettingsError(
            f"{name} ({points[0].value}, from {owner}) cannot be loaded: {error}",
            hint=f"reinstall {owner}, or uninstall it if you do not need {name}",
        ) from error


@lru_cache(maxsize=1)
def _built_in() -> EntryPoints:
    try:
        return distribution("imagefinder").entry_points
    except PackageNotFoundError:  # imported from a folder that is not installed
        return EntryPoints()


@lru_cache(maxsize=1)
def _installed(path: tuple[str, ...]) -> Any:
    """All entry points, with ``select``; reading the metadata of every installed package takes long."""
    del path  # part of the cache key
    return entry_points()
