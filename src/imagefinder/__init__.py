"""Find images by image, with the confidence of each match and the evidence for it.

>>> import imagefinder
>>> collection = imagefinder.open("my-images.collection")
>>> collection.add("~/Pictures")
>>> collection.search("query.jpg", method="sift").ids
"""

from __future__ import annotations

from importlib import import_module
from os import PathLike
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
    """Open a collection of images, or create a new one.

    Args:
        path: Folder of the collection; default: the one in the settings.
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

    from imagefinder.core.home import expand  # noqa: PLC0415 - same reason
    from imagefinder.wiring import open_collection  # noqa: PLC0415 - same reason

    settings = settings or Settings.load()
    if path is not None:
        settings = replace(settings, collection=expand(path))
    return open_collection(settings, create=create)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - slower than the rest of this module

        return version("imagefinder")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
