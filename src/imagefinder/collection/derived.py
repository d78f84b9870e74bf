"""The derived data of a collection, which can be recomputed: the ANN indexes, and checks of all of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from imagefinder.collection.methods import CollectionMethods
from imagefinder.core.contracts import AnnIndex, Store
from imagefinder.core.errors import CollectionCorruptError
from imagefinder.core.method import Method
from imagefinder.core.records import SHORTLIST, AnnIndexState, Damage, IndexReport
from imagefinder.core.results import Mode
from imagefinder.core.scratch import Scratch
from imagefinder.dedup import report
from imagefinder.runtime import Runtime
from imagefinder.search import null_model

_SOME_WAITING = 256
"""Maximum number of unindexed images that a ``fast`` search scores in addition to the candidates; more are indexed
first."""

_MOST_WAITING = 2000
"""Maximum number of unindexed images at which mode ``auto`` uses the indexes; above it, an exact search is
faster."""


class Derived:
    """ANN indexes of one store; thread-safe."""

    def __init__(
        self, store: Store, runtime: Runtime, methods: CollectionMethods, scratch: Scratch | None
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._methods = methods
        self._scratch = scratch
        self._indexes: dict[str, AnnIndex] = {}
        self._lock = threading.Lock()

    # -- ANN indexes ---------------------------------------------------------------------------------------

    def ann_indexes(self, methods: Sequence[Method], mode: Mode) -> dict[str, AnnIndex] | None:
        """Method name -> ANN index for a search in this mode; ``None`` if every image is scored."""
        if mode == "exact":
            return None
        runtime = self._runtime
        size = self._methods.bytes_of([method.name for method in methods])
        if mode == "auto" and (size <= runtime.settings.exact_bytes or not runtime.has_ann_indexes):
            return None
        chosen = {method.name: self._index(method) for method in methods}
        for index in chosen.values():
            state = index.state()
            if mode == "auto" and (not state.indexed or state.waiting > _MOST_WAITING):
                return None
            if mode == "fast" and (not state.indexed or state.waiting > _SOME_WAITING):
                index.refresh()
        return chosen

    def is_large(self) -> bool:
        """Whether mode ``auto`` uses ANN indexes once they are ready."""
        return self._methods.bytes_of(self._store.info().methods) > self._runtime.settings.exact_bytes

    def build_indexes(self, progress: Callable[[str, int, int], None] | None, *, rebuild: bool) -> IndexReport:
        """Index the new images of each method; with ``rebuild``, or if an index is outgrown, all images."""
        start = time.perf_counter()
        states = []
        for name in self._methods.indexed():
            index = self.own_index(self._runtime.method(name))
            everything = rebuild or index.state().outgrown
            index.refresh(rebuild=everything, progress=_of_method(progress, name))
            states.append(index.state())
        problems = tuple(
            f"the index of {state.method} could not be written; it exists only in memory"
            for state in states
            if not state.kept
        )
        return IndexReport(tuple(states), problems, time.perf_counter() - start)

    def verify_indexes(self) -> IndexReport:
        """Verify the indexes: the checksums of their files, and some images of each segment against the store."""
        start = time.perf_counter()
        states, problems = [], []
        for name in self._methods.indexed():
            index = self.own_index(self._runtime.method(name))
            problems += index.verify()
            states.append(index.state())
        return IndexReport(tuple(states), tuple(problems), time.perf_counter() - start)

    def states(self) -> list[AnnIndexState]:
        """The states of the indexes that have been built, of the methods that are installed."""
        if not self._runtime.has_ann_indexes:
            return []
        states = [self._index(self._runtime.method(name)).state() for name in self._methods.indexed()]
        return [state for state in states if state.indexed]

    # -- checks --------------------------------------------------------------------------------------------

    def is_readable(self, name: str, data: bytes) -> bool:
        """Whether derived data are readable."""
        if name == report.NAME:
            return report.is_intact(data)
        return name != null_model.NAME or null_model.is_intact(data, self._runtime.calibrator)

    def index_damages(self, *, repair: bool) -> list[Damage]:
        """The damage of existing indexes; with ``repair``, damaged indexes are rebuilt."""
        damages = list[Damage]()
        if self._scratch is None or not self._runtime.has_ann_indexes:
            return damages
        for name in self._methods.indexed():
            index, repaired = self.own_index(self._runtime.method(name)), ""
            try:
                problems = index.verify()
                if problems and repair:
                    self._scratch.delete(f"{SHORTLIST}{name}")
                    index.refresh(rebuild=True)
                    repaired = "the index was rebuilt" if index.state().kept else ""
            except CollectionCorruptError:  # damaged features are reported by the store
                continue
            damages += [Damage("derived", problem, method=name, repaired=repaired) for problem in problems]
        return damages

    def _index(self, method: Method) -> AnnIndex:
        """The index that searches use."""
        with self._lock:
            if method.name not in self._indexes:
                self._indexes[method.name] = self._runtime.ann_index(self._store, method, self._scratch)
            return self._indexes[method.name]

    def own_index(self, method: Method) -> AnnIndex:
        """A separate index object, so that searches need not wait; their index picks up the files it writes."""
        if self._scratch is None:
            return self._index(method)
        return self._runtime.ann_index(self._store, method, self._scratch)


def _of_method(progress: Callable[[str, int, int], None] | None, name: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(name, done, total)
