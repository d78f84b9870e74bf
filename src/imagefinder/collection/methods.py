"""Selection of the methods that index and search a collection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from imagefinder.core.colours import Colours
from imagefinder.core.contracts import Store
from imagefinder.core.errors import ModelError
from imagefinder.core.method import Method, colours_of, with_colours
from imagefinder.core.records import StoreInfo
from imagefinder.core.results import AUTO
from imagefinder.runtime import Runtime


class CollectionMethods:
    """Selects the methods for one store."""

    def __init__(self, store: Store, runtime: Runtime) -> None:
        self._store = store
        self._runtime = runtime

    def colours(self) -> Colours:
        """The way in which the colours of the images of this store are read."""
        return _colours(self._store.info())

    def method(self, name: str) -> Method:
        """The method with this name, with fingerprints for this store.

        Raises:
            UnknownMethodError: no method has this name.
        """
        return self._named([name], self._store.info())[0]

    def _named(self, names: Iterable[str], info: StoreInfo) -> list[Method]:
        colours = _colours(info)
        return [with_colours(self._runtime.method(name), colours) for name in names]

    def to_index(self, names: Sequence[str] | None = None) -> list[Method]:
        """The named methods; default: those the store has features of or, if it is empty, all that are ready.

        Raises:
            UnknownMethodError: no method has this name.
            ModelError: no method is ready on this machine.
        """
        info = self._store.info()
        names = names or sorted(info.methods)
        if names:
            return self._named(dict.fromkeys(names), info)
        ready = self._named([state.name for state in self._runtime.method_states() if state.ready], info)
        if not ready:
            raise ModelError("no method is ready on this machine", hint="to see why, run: imagefinder methods")
        return ready

    def to_search(self, name: str, image_id: str | None = None) -> list[Method]:
        """The named method or, for ``auto``, all methods that the store has features of.

        Args:
            name: Name of a method, or ``auto``.
            image_id: Id of a stored query image; ``auto`` then prefers the methods this image has features of.

        Raises:
            UnknownMethodError: no method has this name.
            ModelError: the store is empty, and no method is ready on this machine.
        """
        info = self._store.info()
        if name != AUTO:
            return self._named([name], info)
        stored = [one for one, method in sorted(info.methods.items()) if method.images]
        if image_id is not None:
            status = self._store.status([image_id])
            stored = [one for one in stored if image_id in status and one in status[image_id].methods] or stored
        return self._named(stored, info) or self.to_index()

    def installed(self) -> list[Method]:
        """The methods that are registered in the store and installed on this machine, sorted by name."""
        info = self._store.info()
        return self._named([name for name in sorted(info.methods) if name in self._runtime.method_names], info)

    def indexed(self) -> list[str]:
        """Names of the methods that are installed and have features in the store, sorted."""
        stored = self._store.info().methods
        return [name for name in sorted(stored) if stored[name].images and name in self._runtime.method_names]

    def bytes_of(self, names: Iterable[str]) -> int:
        """Size of the stored features of some methods in bytes."""
        stored = self._store.info().methods
        return sum(stored[name].bytes for name in names if name in stored)


def _colours(info: StoreInfo) -> Colours:
    return colours_of(method.fingerprint for method in info.methods.values() if method.images)
