"""Find images by image, with the confidence of each match and the evidence for it.

>>> import imagefinder
>>> collection = imagefinder.open("my-images.collection")
>>> collection.add("~/Pictures")
>>> collection.search("query.jpg", method="sift").ids
"""

from __future__ import annotations

from importlib import import_module
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

# Importing the package loads nothing else, so that "imagefinder --version" and completion start quickly.
if TYPE_CHECKING:
    from imagefinder.collection import Collection
    from imagefinder.core.errors import ImagefinderError
    from imagefinder.core.query import Query, SearchOptions
    from imagefinder.core.records import CheckReport, Damage, Failure, ImageRecord, StoreInfo
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

__version__ = "0.2.0"

_LAZY = {
    "Collection": "imagefinder.collection",
    "Comparison": "imagefinder.core.results",
    "DuplicateGroup": "imagefinder.core.results",
    "DuplicatePair": "imagefinder.core.results",
    "DuplicateReport": "imagefinder.core.results",
    "Evidence": "imagefinder.core.results",
    "Explanation": "imagefinder.core.results",
    "Hit": "imagefinder.core.results",
    "ImagefinderError": "imagefinder.core.errors",
    "SearchResult": "imagefinder.core.results",
    "Settings": "imagefinder.core.settings",
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
    """Open a collection of images, or create a new one.

    Args:
        path: Folder of the collection, or a URL such as ``file:///data/shop``; default: the one in the settings.
        create: Create the collection if it does not exist.
        settings: Default: those of the settings file and the environment (``IMAGEFINDER_*``).

    Returns:
        The collection; close it after use, or use it in a ``with`` statement.

    Raises:
        CollectionNotFoundError: the collection does not exist and ``create`` is false.
        CollectionFormatError: the folder is not a collection, or its format is of another version.
        SettingsError: a setting has an invalid value.
    """
    from dataclasses import replace  # noqa: PLC0415 - keeps the import of the package fast

    from imagefinder.core.settings import Settings  # noqa: PLC0415 - same reason
    from imagefinder.wiring import open_collection  # noqa: PLC0415 - same reason

    settings = settings or Settings.load()
    if path is not None:
        settings = replace(settings, collection=fspath(path))
    return open_collection(settings, create=create)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = globals()[name] = getattr(import_module(_LAZY[name]), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
