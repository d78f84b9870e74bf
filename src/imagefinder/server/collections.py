"""The collections of a server: the one its settings name, and others by name, opened when they are asked for."""

from __future__ import annotations

import logging
import re
import secrets
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from weakref import WeakValueDictionary

from imagefinder.collection import Collection
from imagefinder.core.errors import CollectionNotFoundError, StoreError
from imagefinder.core.records import StoreInfo
from imagefinder.core.settings import Settings
from imagefinder.server.errors import Problem

log = logging.getLogger(__name__)

DEFAULT = "default"
"""Name of the collection that the settings name."""

NAME = r"[a-z0-9][a-z0-9_-]{0,62}"
"""What names of collections look like: each is a plain word, so that no path leads out of the folder."""

MAX_COLLECTIONS = 1000
OPEN_AT_ONCE = 16
"""So many further collections stay open while nobody asks them; the one not asked for longest is closed first."""

_DELETED = ".deleted-"


class Collections:
    """Gives collections by name; safe to use from several threads.

    Whoever was given a collection may go on using it: one that is no longer kept open here closes when the last
    one lets go of it.
    """

    def __init__(
        self,
        default: Collection,
        settings: Settings,
        open_collection: Callable[[Settings, bool], Collection],
    ) -> None:
        """Nothing is opened yet.

        Args:
            default: The collection named ``default``; closed with the others.
            settings: ``collections`` is the folder of the others; they are opened with these settings.
            open_collection: Opens the collection that settings name, and may create it.
        """
        self._default = default
        self._settings = settings
        self._open = open_collection
        self._folder = settings.collections
        # What a store in memory holds would be gone with the object.
        self._keep = OPEN_AT_ONCE if settings.store != "memory" else MAX_COLLECTIONS
        self._kept: OrderedDict[str, Collection] = OrderedDict()
        self._alive: WeakValueDictionary[str, Collection] = WeakValueDictionary()
        self._lock = threading.RLock()
        self._closed = False

    def names(self) -> list[str]:
        """All names, sorted."""
        try:
            found = {path.name for path in self._folder.iterdir() if _is_name(path.name) and path.is_dir()}
        except OSError:  # nobody has made one yet
            found = set()
        with self._lock:
            return sorted({DEFAULT, *found, *self._kept})

    def get(self, name: str) -> Collection:
        """The collection of a name.

        Raises:
            Problem: ``unknown_collection``.
            StoreError: it cannot be opened.
        """
        if name == DEFAULT:
            return self._default
        if not _is_name(name):
            raise _unknown(name)
        with self._lock:
            known = self._alive.get(name)
            if known is None:
                if not (self._folder / name).is_dir():
                    raise _unknown(name)
                try:
                    known = self._opened(name, create=False)
                except CollectionNotFoundError:
                    raise _unknown(name) from None
            self._keep_open(name, known)
            return known

    def opened(self) -> list[tuple[str, StoreInfo]]:
        """Name and state of the collections that are open, ``default`` first.

        Raises:
            StoreError: one cannot be read.
        """
        with self._lock:
            kept = list(self._kept.items())
        return [(name, collection.info()) for name, collection in [(DEFAULT, self._default), *kept]]

    def create(self, name: str) -> tuple[Collection, bool]:
        """The collection of a name, made if it is not there; and whether it was made.

        Raises:
            Problem: ``invalid_parameter``: an impossible name; ``too_many_collections``.
            StoreError: it cannot be made.
        """
        if not _is_name(name):
            raise Problem(
                "invalid_parameter",
                f"{name[:100]!a} is no name for a collection",
                hint=f"small letters, digits, - and _, at most 63: {NAME}",
                field="collection",
            )
        with self._lock:
            try:
                return self.get(name), False
            except Problem:
                pass
            if len(self.names()) > MAX_COLLECTIONS:
                raise Problem(
                    "too_many_collections",
                    f"there are {MAX_COLLECTIONS} collections already",
                    hint="delete one that is no longer needed",
                    limit=MAX_COLLECTIONS,
                )
            made = self._opened(name, create=True)
            self._keep_open(name, made)
            return made, True

    def delete(self, name: str) -> None:
        """Remove a collection with all that is in it.

        Raises:
            Problem: ``unknown_collection``; ``collection_protected``: it is the default one, or lies elsewhere.
            StoreError: its files cannot be removed.
        """
        if name == DEFAULT:
            raise Problem(
                "collection_protected",
                "the default collection is the operator's",
                hint="its images can be deleted one by one",
            )
        with self._lock:
            collection = self.get(name)
            folder = self._folder / name
            if folder.is_symlink():
                raise Problem("collection_protected", f"the collection {name!r} lies elsewhere on the server")
            self._kept.pop(name, None)
            self._alive.pop(name, None)
            collection.close()
            gone = self._folder / f"{_DELETED}{secrets.token_hex(8)}"
            try:
                if folder.is_dir():
                    folder.rename(gone)  # at once, so that nobody finds half of it
                    shutil.rmtree(gone)
            except OSError as error:
                raise StoreError(f"the collection {name!r} cannot be removed: {error.strerror}") from error

    def tidy(self) -> None:
        """Remove what a deletion that was cut short has left."""
        for path in self._folder.glob(f"{_DELETED}*"):
            shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        """Close all; calling it again does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for collection in [*self._alive.values(), self._default]:
                collection.close()
            self._kept.clear()

    def _opened(self, name: str, *, create: bool) -> Collection:
        if self._closed:
            raise StoreError("the server is stopping")
        settings = replace(self._settings, collection=Path(self._folder / name))
        opened = self._open(settings, create)
        self._alive[name] = opened
        return opened

    def _keep_open(self, name: str, collection: Collection) -> None:
        self._kept[name] = collection
        self._kept.move_to_end(name)
        while len(self._kept) > self._keep:
            self._kept.popitem(last=False)


def _is_name(name: str) -> bool:
    return re.fullmatch(NAME, name) is not None and name != DEFAULT


def _unknown(name: str) -> Problem:
    return Problem("unknown_collection", f"there is no collection {name[:100]!a}", hint="GET /v1/collections")
