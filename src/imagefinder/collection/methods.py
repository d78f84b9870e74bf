"""Which methods index and answer for a collection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from imagefinder.core.contracts import Store
from imagefinder.core.errors import ModelError
from imagefinder.core.method import Method
from imagefinder.core.results import AUTO
from imagefinder.runtime import Runtime


class CollectionMethods:
    """The methods of one store."""

    def __init__(self, store: Store, runtime: Runtime) -> None:
        self._store = store
        self._runtime = runtime

    def to_index(self, names: Sequence[str] | None = None) -> list[Method]:
        """Those named; by default those the store has features of or, if it is empty, all that are ready.

        Raises:
            UnknownMethodError: no such method.
            ModelError: none is ready on this machine.
        """
        if not names:
            names = sorted(self._store.info().methods)
        if names:
            return [self._runtime.method(name) for name in dict.fromkeys(names)]
        ready = [self._runtime.method(state.name) for state in self._runtime.method_states() if state.ready]
        if not ready:
            raise ModelError("no method is ready on this machine", hint="see: imagefinder methods")
        return ready

    def to_search(self, name: str, image_id: str | None = None) -> list[Method]:
        """The one named or, for ``auto``, all that the store has features of.

        Args:
            name: Of a method, or ``auto``.
            image_id: Of the stored image that is searched with; ``auto`` takes only the methods it has features
                of.

        Raises:
            UnknownMethodError: no such method.
            ModelError: the store is empty, and no method is ready on this machine.
        """
        if name != AUTO:
            return [self._runtime.method(name)]
        stored = [known for known, method in sorted(self._store.info().methods.items()) if method.images]
        if image_id is not None:
            status = self._store.status([image_id])
            stored = [
                known for known in stored if image_id in status and known in status[image_id].methods
            ] or stored
        return [self._runtime.method(known) for known in stored] or self.to_index()

    def installed(self) -> list[Method]:
        """Those that the store knows and this machine has, in order of name."""
        known = sorted(self._store.info().methods)
        return [self._runtime.method(name) for name in known if name in self._runtime.method_names]

    def indexed(self) -> list[str]:
        """Names of those that images have features of and this machine has, in order."""
        stored = self._store.info().methods
        return [name for name in sorted(stored) if stored[name].images and name in self._runtime.method_names]

    def bytes_of(self, names: Iterable[str]) -> int:
        """Bytes of the stored features of some methods."""
        stored = self._store.info().methods
        return sum(stored[name].bytes for name in names if name in stored)
