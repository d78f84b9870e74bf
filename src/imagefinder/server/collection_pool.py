"""The collections of a server: the default one and others by name, opened on first use."""

from __future__ import annotations

import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from weakref import WeakValueDictionary

from imagefinder.collection import Collection
from imagefinder.core.collection_names import COLLECTION_NAME, DEFAULT
from imagefinder.core.errors import CollectionMovedError, CollectionNotFoundError, StoreError
from imagefinder.core.records import StoreInfo
from imagefinder.core.service_contracts import Catalogue
from imagefinder.core.settings import Settings
from imagefinder.server import request_context
from imagefinder.server.access import check_collection
from imagefinder.server.errors import Problem

log = logging.getLogger(__name__)

MAX_COLLECTIONS = 1000
MAX_IDLE_OPEN = 16
"""Number of unused collections that stay open; the least recently used one is closed first."""


class CollectionPool:
    """Collections by name; safe to use from several threads.

    A request sees only the collections that its key may use; jobs and monitoring see all.

    A collection that leaves the pool stays usable: it closes when the last reference to it is gone.

    A collection whose files were moved, deleted or replaced raises ``CollectionMovedError`` once; the next request
    gets the collection that is in its place then, for example a restored backup.
    """

    def __init__(
        self,
        default: Collection,
        settings: Settings,
        open_collection: Callable[[Settings, bool], Collection],
        catalogue: Catalogue,
    ) -> None:
        """Nothing is opened yet.

        Args:
            default: The collection named ``default``; closed with the others.
            settings: Settings for opening the others.
            open_collection: Opens the collection of the given settings; creates it if the flag is true.
            catalogue: Names and locations of the others.
        """
        self._default = default
        self._settings = settings
        self._open = open_collection
        self._catalogue = catalogue
        # The data of an in-memory store would be lost with the object.
        self._max_open = MAX_IDLE_OPEN if settings.store != "memory" else MAX_COLLECTIONS
        self._recent: OrderedDict[str, Collection] = OrderedDict()
        self._alive: WeakValueDictionary[str, Collection] = WeakValueDictionary()
        self._lock = threading.RLock()
        self._closed = False

    @property
    def default(self) -> Collection:
        """The default collection, whatever the key of the request: for its methods, not for its images."""
        return self._default

    def names(self) -> list[str]:
        """The names of the collections that the current request may use, sorted."""
        return [name for name in self._names() if request_context.may_use(name)]

    def _names(self) -> list[str]:
        found = self._catalogue.names()
        with self._lock:
            recent = self._recent if self._settings.store == "memory" else ()
            return sorted({DEFAULT, *found, *recent})

    def get(self, name: str) -> Collection:
        """The collection with this name.

        Raises:
            Problem: ``unknown_collection`` or ``collection_not_allowed``.
            CollectionMovedError: its files were moved, deleted or replaced since the last request.
            StoreError: it cannot be opened.
        """
        check_collection(request_context.caller(), name)
        if name == DEFAULT:
            before = self._default
            if self.current_default() is not before:
                raise _moved(name)
            return before
        if not _is_name(name):
            raise _unknown(name)
        with self._lock:
            collection = self._alive.get(name)
            if collection is not None and not collection.is_in_place():
                self._recent.pop(name, None)
                self._alive.pop(name, None)
                if self._catalogue.exists(name):
                    raise _moved(name)
                collection = None
            if collection is None:
                if not self._catalogue.exists(name):
                    raise _unknown(name)
                try:
                    collection = self._open_named(name, create=False)
                except CollectionNotFoundError:
                    raise _unknown(name) from None
            self._mark_used(name, collection)
            return collection

    def current_default(self) -> Collection:
        """The default collection; if its files were replaced, the collection that is in its place now.

        Raises:
            StoreError: its files were moved or deleted, or another collection in its place cannot be opened.
        """
        with self._lock:
            if self._closed or self._default.is_in_place():
                return self._default
            try:
                opened = self._open(self._settings, False)
            except CollectionNotFoundError:
                raise _moved(DEFAULT) from None
            log.warning("the default collection was replaced; opened the one that is in its place now")
            self._default = opened
            return opened

    def opened(self) -> list[tuple[str, StoreInfo]]:
        """Name and state of each open collection, ``default`` first.

        Raises:
            StoreError: a collection cannot be read.
        """
        with self._lock:
            recent = list(self._recent.items())
        return [(name, collection.info()) for name, collection in [(DEFAULT, self._default), *recent]]

    def create(self, name: str) -> tuple[Collection, bool]:
        """The collection with this name, created if it does not exist; and whether it was created.

        Raises:
            Problem: ``invalid_parameter``: an invalid name; ``collection_not_allowed``,
                ``too_many_collections``.
            StoreError: it cannot be created.
        """
        if not _is_name(name):
            raise Problem(
                "invalid_parameter",
                f"{name[:100]!a} is not a valid collection name",
                hint="use up to 63 lower-case letters, digits, - and _, starting with a letter or digit",
                field="collection",
            )
        check_collection(request_context.caller(), name)
        with self._lock:
            try:
                return self.get(name), False
            except Problem:
                pass
            if len(self._names()) > MAX_COLLECTIONS:
                raise Problem(
                    "too_many_collections",
                    f"the server already has {MAX_COLLECTIONS} collections",
                    hint="delete a collection that is no longer needed",
                    limit=MAX_COLLECTIONS,
                )
            created = self._open_named(name, create=True)
            self._mark_used(name, created)
            return created, True

    def delete(self, name: str) -> None:
        """Delete a collection and everything in it.

        Raises:
            Problem: as ``get``; ``collection_protected``: the default collection.
            StoreError: it cannot be deleted.
        """
        check_collection(request_context.caller(), name)
        if name == DEFAULT:
            raise Problem(
                "collection_protected",
                "the default collection cannot be deleted over the network",
                hint="delete its images one by one, or let the server's operator delete its folder",
            )
        with self._lock:
            collection = self.get(name)
            self._catalogue.check_deletable(name)
            self._recent.pop(name, None)
            self._alive.pop(name, None)
            collection.close()
            self._catalogue.delete(name)

    def remove_leftovers(self) -> None:
        """Remove what interrupted deletions left behind."""
        self._catalogue.remove_leftovers()

    def close(self) -> None:
        """Close all collections; further calls do nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for collection in [*self._alive.values(), self._default]:
                collection.close()
            self._recent.clear()

    def _open_named(self, name: str, *, create: bool) -> Collection:
        if self._closed:
            raise StoreError("the server is stopping")
        settings = replace(self._settings, collection=self._catalogue.location(name))
        opened = self._open(settings, create)
        self._alive[name] = opened
        return opened

    def _mark_used(self, name: str, collection: Collection) -> None:
        self._recent[name] = collection
        self._recent.move_to_end(name)
        while len(self._recent) > self._max_open:
            self._recent.popitem(last=False)


def _is_name(name: str) -> bool:
    return re.fullmatch(COLLECTION_NAME, name) is not None and name != DEFAULT


def _moved(name: str) -> CollectionMovedError:
    return CollectionMovedError(f"the collection {name!r} was moved, deleted or replaced while it was open")


def _unknown(name: str) -> Problem:
    return Problem(
        "unknown_collection",
        f"there is no collection {name[:100]!a}",
        hint="GET /v1/collections lists the collections",
    )
