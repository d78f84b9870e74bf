"""Find images by image: which of mine is this, how sure are you, and why?

>>> import imagefinder
>>> collection = imagefinder.open("my-pictures.collection")
>>> collection.add("~/Pictures")
>>> collection.search("query.jpg", method="sift").ids
"""

from __future__ import annotations

from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagefinder.core.errors import ImagefinderError
from imagefinder.core.results import (
    Comparison,
    DuplicateGroup,
    DuplicatePair,
    DuplicateReport,
    Evidence,
    Explanation,
    Hit,
    SearchResult,
)
from imagefinder.core.settings import Settings

if TYPE_CHECKING:
    from imagefinder.collection import Collection
    from imagefinder.core.query import Query, SearchOptions
    from imagefinder.core.records import CheckReport, Damage, Failure, ImageRecord, StoreInfo
    from imagefinder.indexing.progress import AddReport, Progress
    from imagefinder.search.trace import Trace

__all__ = [
    "AddReport",
    "CheckReport",
    "Collection",
    "Comparison",
    "Damage",
    "DuplicateGroup",
    "DuplicatePair",
    "DuplicateReport",
    "Evidence",
    "Explanation",
    "Failure",
    "Hit",
    "ImageRecord",
    "ImagefinderError",
    "Progress",
    "Query",
    "SearchOptions",
    "SearchResult",
    "Settings",
    "StoreInfo",
    "Trace",
    "open",
]

_LAZY = {
    "Collection": "imagefinder.collection",
    "CheckReport": "imagefinder.core.records",
    "Damage": "imagefinder.core.records",
    "Failure": "imagefinder.core.records",
    "ImageRecord": "imagefinder.core.records",
    "StoreInfo": "imagefinder.core.records",
    "AddReport": "imagefinder.indexing.progress",
    "Progress": "imagefinder.indexing.progress",
    "Query": "imagefinder.core.query",
    "SearchOptions": "imagefinder.core.query",
    "Trace": "imagefinder.search.trace",
}


def open(  # noqa: A001 - read as imagefinder.open
    path: str | PathLike[str] | None = None, *, create: bool = True, settings: Settings | None = None
) -> Collection:
    """Open a collection of images, or begin a new one.

    Args:
        path: Its folder; by default the one the settings name.
        create: Begin a new one where there is none.
        settings: By default those of the environment (``IMAGEFINDER_*``).

    Returns:
        The collection; close it when done, or use it in a ``with`` statement.

    Raises:
        CollectionNotFoundError: there is none and ``create`` is false.
        CollectionFormatError: the folder holds something else, or was written by a newer version.
        SettingsError: a setting has an impossible value.
    """
    from dataclasses import replace  # noqa: PLC0415 - keeps the import of the package light

    from imagefinder.wiring import open_collection  # noqa: PLC0415 - likewise

    settings = settings or Settings.load()
    if path is not None:
        settings = replace(settings, collection=Path(path).expanduser())
    return open_collection(settings, create=create)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - takes longer than all else here together

        return version("imagefinder")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
