"""Selection of the methods that index and search a collection."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from imagefinder.core.colours import Colours
from imagefinder.core.contracts import Store
from imagefinder.core.errors import InputError, MethodNotIndexedError, ModelError, SettingsError
from imagefinder.core.method import Method, colours_of, with_colours
from imagefinder.core.records import StoreInfo
from imagefinder.core.results import AUTO
from imagefinder.runtime import Runtime


class CollectionMethods:
    """Selects the methods for one store."""

    def __init__(self, store: Store, runtime: Runtime) -> None:
        self._store = store
        self._runtime = runtime
        self._colours: Colours | None = None

    def colours(self) -> Colours:
        """The way in which the colours of the images of this store are read, when methods were last selected."""
        return self._colours or self._update(self._store.info())

    def method(self, name: str) -> Method:
        """The method with this name, with fingerprints for this store.

        Raises:
            UnknownMethodError: no method has this name.
        """
        return self._named([name], self._store.info())[0]

    def _named(self, names: Iterable[str], info: StoreInfo) -> list[Method]:
        colours = self._update(info)
        return [with_colours(self._runtime.method(name), colours) for name in names]

    def _update(self, info: StoreInfo) -> Colours:
        found = colours_of(method.fingerprint for method in info.methods.values() if method.images)
        self._colours = found
        return found

    def to_index(self, names: Sequence[str] | None = None) -> list[Method]:
        """The named methods; default: those the store has features of, or else the ready ones that ``auto`` uses.

        Methods that were removed from this machine are left out, unless they are named.

        Raises:
            UnknownMethodError: no method has this name.
            ModelError: no method is ready on this machine.
        """
        info = self._store.info()
        names = names or self._on_this_machine(sorted(info.methods))
        if names:
            return self._named(dict.fromkeys(names), info)
        ready = self._named([state.name for state in self._runtime.method_states() if state.ready], info)
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
        info = self._store.info()
        if name != AUTO:
            return self._named([name], info)
        stored = [one for one, method in sorted(info.methods.items()) if method.images]
        if image_id is not None:
            status = self._store.status([image_id])
            stored = [one for one in stored if image_id in status and one in status[image_id].methods] or stored
        found = self._named(self._on_this_machine(stored), info)
        return [method for method in found if method.auto] or found or self.to_index()

    def for_similarity(self, image_id: str | None) -> Method:
        """The method that orders images by similarity: one with a vector for each image, if there is one.

        Of several, it is the one with features of most images; ties are resolved by name.

        Args:
            image_id: Id of a stored query image, which must have features of the method.

        Raises:
            ModelError: the store is empty, and no method is ready on this machine.
        """
        methods = self.to_search(AUTO, image_id)
        stored = self._store.info().methods
        with_vector = [method for method in methods if method.extractor.spec.kind == "global"]
        return max(with_vector or methods, key=lambda one: stored[one.name].images if one.name in stored else 0)

    def to_search_words(self, name: str) -> Method:
        """The named method or, for ``auto``, a method of the collection that understands words.

        Of several, the one with the largest vocabulary is chosen.

        Raises:
            UnknownMethodError: no method has this name.
            InputError: the method, or every method on this machine, understands no words.
            MethodNotIndexedError: the store has images, but no features of a method that does.
        """
        info = self._store.info()
        able = {one.name: one for one in self._named(self._loadable(), info) if one.text}
        hint = f"methods that do: {', '.join(able) or 'none on this machine'}"
        if name != AUTO:
            if self._runtime.method(name).name not in able:
                raise InputError(f"{name} understands no words", hint=hint)
            return able[name]
        if not able:
            raise InputError("no method on this machine understands words")
        stored = [one for one in able.values() if one.name in info.methods]
        if info.images and not stored:
            raise MethodNotIndexedError(min(able), info.methods)
        return max(stored or able.values(), key=_vocabulary_size)

    def _loadable(self) -> Iterator[str]:
        for name in self._runtime.method_names:
            with suppress(SettingsError):  # a plug-in that cannot be loaded must not affect other methods
                yield self._runtime.method(name).name

    def _on_this_machine(self, names: Sequence[str]) -> Sequence[str]:
        """The names of methods that exist here; all of them if none does, so that the error names one."""
        return [name for name in names if name in self._runtime.method_names] or names

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


def _vocabulary_size(method: Method) -> float:
    size = method.text.vocabulary_size() if method.text else 0
    return math.inf if size is None else size
