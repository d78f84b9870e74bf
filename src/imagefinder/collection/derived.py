"""What a collection derives from its features, and can compute again: the null model and the ANN indexes."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence

from imagefinder.collection.methods import CollectionMethods
from imagefinder.core.contracts import AnnIndex, Store
from imagefinder.core.errors import CollectionCorruptError
from imagefinder.core.method import Method
from imagefinder.core.records import SHORTLIST, Damage, IndexReport
from imagefinder.core.results import Mode
from imagefinder.dedup import report
from imagefinder.runtime import Runtime
from imagefinder.search import null_model
from imagefinder.search.fit import fit
from imagefinder.search.null_model import NullModel

_SOME_WAITING = 256
"""Up to this many images that are not indexed are scored beside the candidates; more are indexed first ..."""

_MOST_WAITING = 2000
"""... and above this number scoring all images is quicker than waiting."""


class Derived:
    """Null model and ANN indexes of one store; safe to use from several threads."""

    def __init__(self, store: Store, runtime: Runtime, methods: CollectionMethods) -> None:
        self._store = store
        self._runtime = runtime
        self._methods = methods
        self._null_model: NullModel | None = None
        self._indexes: dict[str, AnnIndex] = {}
        self._fitting = threading.Lock()
        self._lock = threading.Lock()

    # -- null model ----------------------------------------------------------------------------------------

    def null_model(self, progress: Callable[[int, int], None] | None = None) -> NullModel:
        """The null model; it is fitted first where there is none that describes the collection as it is.

        One thread fits, the others wait for it.

        Args:
            progress: Called with (done, total) while it is fitted.
        """
        calibrator = self._runtime.calibrator
        with self._fitting:
            model = self._null_model or null_model.read(self._store, calibrator)
            if model is None or not model.fits(self._store):
                # Another process may have fitted it meanwhile.
                model = null_model.read(self._store, calibrator)
            if model is None or not model.fits(self._store):
                stored = [name for name, method in sorted(self._store.info().methods.items()) if method.images]
                methods = [self._runtime.method(name) for name in stored]
                model = fit(self._store, methods, self._runtime, progress=progress)
                null_model.write(self._store, model)
            self._null_model = model
            return model

    def calibrate(self, progress: Callable[[int, int], None] | None = None) -> bool:
        """Fit the null model where that is needed; returns whether it was."""
        before = self._null_model
        return self.null_model(progress) is not before

    # -- ANN indexes ---------------------------------------------------------------------------------------

    def ann_indexes(self, methods: Sequence[Method], mode: Mode) -> dict[str, AnnIndex] | None:
        """The indexes that propose candidates in a mode; ``None`` where every image is scored."""
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
        """Whether mode ``auto`` uses ANN indexes where they are ready."""
        return self._methods.bytes_of(self._store.info().methods) > self._runtime.settings.exact_bytes

    def build_indexes(self, progress: Callable[[str, int, int], None] | None, *, rebuild: bool) -> IndexReport:
        """Index what is new; with ``rebuild``, or where the collection has outgrown its index, everything."""
        start = time.perf_counter()
        states = []
        for name in self._methods.indexed():
            index = self._own_index(name)
            everything = rebuild or index.state().outgrown
            index.refresh(rebuild=everything, progress=_of_method(progress, name))
            states.append(index.state())
        problems = tuple(
            f"the index of {state.method} could not be written; it ends with this program"
            for state in states
            if not state.kept
        )
        return IndexReport(tuple(states), problems, time.perf_counter() - start)

    def verify_indexes(self) -> IndexReport:
        """Compare the indexes with the stored features: files by checksum, some images of each segment again."""
        start = time.perf_counter()
        states, problems = [], []
        for name in self._methods.indexed():
            index = self._own_index(name)
            problems += index.verify()
            states.append(index.state())
        return IndexReport(tuple(states), tuple(problems), time.perf_counter() - start)

    # -- checks --------------------------------------------------------------------------------------------

    def is_readable(self, name: str, data: bytes) -> bool:
        """Whether derived data of the store can be read."""
        if name == report.NAME:
            return report.from_bytes(data) is not None
        return name != null_model.NAME or null_model.from_bytes(data, self._runtime.calibrator) is not None

    def index_damages(self, *, repair: bool) -> list[Damage]:
        """What is wrong with the indexes that are there; with ``repair`` they are built again."""
        damages, folder = list[Damage](), self._store.derived_folder()
        if folder is None or not self._runtime.has_ann_indexes:
            return damages
        for name in self._methods.indexed():
            index, repaired = self._own_index(name), ""
            try:
                problems = index.verify()
                if problems and repair:
                    shutil.rmtree(folder / f"{SHORTLIST}{name}", ignore_errors=True)
                    index.refresh(rebuild=True)
                    repaired = "the index was made anew" if index.state().kept else ""
            except CollectionCorruptError:  # features are damaged, and that was reported
                continue
            damages += [Damage("derived", problem, method=name, repaired=repaired) for problem in problems]
        return damages

    def _index(self, method: Method) -> AnnIndex:
        """The index that searches use."""
        with self._lock:
            if method.name not in self._indexes:
                self._indexes[method.name] = self._runtime.ann_index(self._store, method)
            return self._indexes[method.name]

    def _own_index(self, name: str) -> AnnIndex:
        """An index beside the one that searches use, so that they need not wait; that one sees its files."""
        method = self._runtime.method(name)
        return (
            self._index(method)
            if self._store.derived_folder() is None
            else self._runtime.ann_index(self._store, method)
        )


def _of_method(progress: Callable[[str, int, int], None] | None, name: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(name, done, total)
