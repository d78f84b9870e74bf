"""Selection of the methods that index and search a collection."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from imagefinder.core.contracts import Store
from imagefinder.core.errors import InputError, MethodNotIndexedError, ModelError, SettingsError
from imagefinder.core.method import Method
from imagefinder.core.results import AUTO
from imagefinder.runtime import Runtime


class CollectionMethods:
    """Selects the methods for one store."""

    def __init__(self, store: Store, runtime: Runtime) -> None:
        self._store = store
        self._runtime = runtime

    def to_index(self, names: Sequence[str] | None = None) -> list[Method]:
        """The named methods; default: those the store has features of or, if it is empty, all that are ready.

        Raises:
            UnknownMethodError: no method has this name.
            ModelError: no method is ready on this machine.
        """
        if not names:
            names = sorted(self._store.info().methods)
        if names:
            return [self._runtime.method(name) for name in dict.fromkeys(names)]
        ready = [self._runtime.method(state.name) for state in self._runtime.method_states() if state.ready]
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
        if name != AUTO:
            return [self._runtime.method(name)]
        stored = [one for one, method in sorted(self._store.info().methods.items()) if method.images]
        if image_id is not None:
            status = self._store.status([image_id])
            stored = [one for one in stored if image_id in status and one in status[image_id].methods] or stored
        return [self._runtime.method(one) for one in stored] or self.to_index()

    def to_search_words(self, name: str) -> Method:
        """The named method or, for ``auto``, a method of the collection that understands words.

        Of several, the one with the largest vocabulary is chosen.

        Raises:
            UnknownMethodError: no method has this name.
            InputError: the method, or every method on this machine, understands no words.
            MethodNotIndexedError: the store has images, but no features of a method that does.
        """
        able = {one.name: one for one in self._loadable() if one.text}
        hint = f"methods that do: {', '.join(able) or 'none on this machine'}"
        if name != AUTO:
            if self._runtime.method(name).text is None:
                raise InputError(f"{name} understands no words", hint=hint)
            return able[name]
        if not able:
            raise InputError("no method on this machine understands words")
        info = self._store.info()
        stored = [one for one in able.values() if one.name in info.methods]
        if info.images and not stored:
            raise MethodNotIndexedError(min(able), info.methods)
        return max(stored or able.values(), key=_vocabulary_size)

    def _loadable(self) -> Iterator[Method]:
        for name in self._runtime.method_names:
            with suppress(SettingsError):  # a plug-in that cannot be loaded must not affect other methods
                yield self._runtime.method(name)

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


def _vocabulary_size(method: Method) -> float:
    size = method.text.vocabulary_size() if method.text else 0
    return math.inf if size is None else size
