"""Selection of the methods that index and search a collection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from imagefinder.core.contracts import Store
from imagefinder.core.errors import ModelError
from imagefinder.core.method import Method
from imagefinder.core.results import AUTO
from imagefinder.runtime import Runtime


class CollectionMethods:
    """Selects the methods for one store."""

    def __init__(self, store: Store, runtime: Runtime) -> None:
        self._store = store
        self._runtime = runtime

    def to_index(self, names: Sequence[str] | None = None) -> list[Method]:
        """The named methods; default: those the store has features of, or else the ready ones that ``auto`` uses.

        Methods that were removed from this machine are left out, unless they are named.

        Raises:
            UnknownMethodError: no method has this name.
            ModelError: no method is ready on this machine.
        """
        if not names:
            names = self._on_this_machine(sorted(self._store.info().methods))
        if names:
            return [self._runtime.method(name) for name in dict.fromkeys(names)]
        ready = [self._runtime.method(state.name) for state in self._runtime.method_states() if state.ready]
        ready = [method for method in ready if method.auto]
        if not ready:
            raise ModelError("no method is ready on this machine", hint="to see why, run: imagefinder methods")
        return ready

    def to_search(self, name: str, image_id: str | None = None) -> list[Method]:
        """The named method or, for ``auto``, the methods that the store has features of.

        ``auto`` leaves out methods that are not to be combined (``Method.auto``), and those that were removed from
        this machine, if others are left.

        Args:
            name: Name of a method, or ``auto``.
            image_id: Id of a stored query image; ``auto`` then prefers the methods this image has features of.

        Raises:
            UnknownMethodError: no method has this name.
            ModelError: the store is empty, and no method is ready on this machine.
        """
        if name != AUTO:
            return [self._runtime.method(name)]
        stored = [one for one, method in sorted(self._store.info().methods.items()) if method.images]
        if image_id is not None:
            status = self._store.status([image_id])
            stored = [one for one in stored if image_id in status and one in status[image_id].methods] or stored
        found = [self._runtime.method(one) for one in self._on_this_machine(stored)]
        return [method for method in found if method.auto] or found or self.to_index()

    def _on_this_machine(self, names: Sequence[str]) -> Sequence[str]:
        """The names of methods that exist here; all of them if none does, so that the error names one."""
        return [name for name in names if name in self._runtime.method_names] or names

    def installed(self) -> list[Method]:
        """The methods that are registered in the store and installed on this machine, sorted by name."""
        registered = sorted(self._store.info().methods)
        return [self._runtime.method(name) for name in registered if name in self._runtime.method_names]

    def indexed(self) -> list[str]:
        """Names of the methods that are installed and have features in the store, sorted."""
        stored = self._store.info().methods
        return [name for name in sorted(stored) if stored[name].images and name in self._runtime.method_names]

    def bytes_of(self, names: Iterable[str]) -> int:
        """Size of the stored features of some methods in bytes."""
        stored = self._store.info().methods
        return sum(stored[name].bytes for name in names if name in stored)
