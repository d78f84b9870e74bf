"""The ANN index of a collection that many machines share: vectors in its database propose candidates.

There is nothing to follow: from the creation of a model on, each writer of features also writes their vectors, in
the same transaction. Only the first build, and a rebuild, compute vectors of stored features, under a lease.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from imagefinder.ann import aggregate
from imagefinder.ann.aggregate import Aggregation
from imagefinder.core.contracts import Store
from imagefinder.core.errors import ShortlistUnavailableError, StoreError
from imagefinder.core.features import Features, FeatureSpec
from imagefinder.core.filters import Filter
from imagefinder.core.records import AnnIndexState, GalleryBlock, Proposals
from imagefinder.core.store_parts import Lease
from imagefinder.core.vector_table import VectorModel, VectorTable

MOST_WAITING = 2000
"""Maximum number of images without a vector that are proposed; a search fails if there are more."""

OUTGROWN = 4
"""A model is outgrown if this many times as many images as it was trained on are available."""

_LEASE_SECONDS = 120.0
_FILLED_AT_ONCE = 128
_VERIFIED_IMAGES = 64
_TOLERANCE = 0.005
"""Maximum difference of the values of two vectors of the same features, computed on different machines."""


class VectorIndex:
    """An ANN index over a ``VectorTable``, for local and global features; thread-safe."""

    def __init__(self, store: Store, method: str, spec: FeatureSpec, table: VectorTable) -> None:
        """Create an index; nothing is read yet.

        Args:
            store: The store it is derived from.
            method: Name of the method.
            spec: Kind, dimension and dtype of the features.
            table: The vectors of the method.
        """
        self._store = store
        self._method = method
        self._spec = spec
        self._table = table
        self._lock = threading.Lock()
        self._read: tuple[int, Aggregation | None] = (-1, None)
        self._sample: tuple[list[str], GalleryBlock] | None = None
        self._alone: bool | None = None  # whether the method was the only one, when the state was last read

    # -- querying ------------------------------------------------------------------------------------------

    def state(self) -> AnnIndexState:
        """Progress of indexing relative to the current state of the store."""
        methods = self._store.info().methods
        images = methods[self._method].images if self._method in methods else 0
        self._alone = methods.keys() <= {self._method}
        model = self._model()
        waiting = images if model is None else 0 if model.complete else self._table.count_missing(model.key)
        usable = min(images, aggregate.SAMPLE_IMAGES)
        return AnnIndexState(
            method=self._method,
            images=images,
            indexed=max(0, images - waiting),
            waiting=min(images, waiting),
            segments=0 if model is None else 1,
            bytes=0 if model is None else self._table.nbytes(model.key),
            kept=True,
            outgrown=model is not None and usable >= OUTGROWN * max(1, model.trained_on),
        )

    def propose(self, queries: Features, n: int, *, where: Filter | None = None) -> list[Proposals]:
        """The best candidates for each query, and all images without a vector.

        Where the method is the only one, and has local features, it proposes twice as many: one vector says less
        than descriptors do.

        Raises:
            ShortlistUnavailableError: more than ``MOST_WAITING`` images have no vector yet.
        """
        if not len(queries):
            return []
        if self._alone is None:
            self.state()
        if self._spec.kind == "local" and self._alone:
            n *= 2
        while True:
            model = self._model()
            waiting = self._waiting(model)
            if model is None:
                return [_proposals(waiting, _no_keys(), np.empty(0)) for _ in range(len(queries))]
            aggregation = self._aggregation(model.key)
            try:
                if aggregation is None:
                    raise _unusable(self._method)
                found = self._table.nearest(model.key, aggregation.vectors(queries), n, where)
                return [_proposals(waiting, keys, products) for keys, products in found]
            except StoreError:
                if model.key in [one.key for one in self._table.models()]:
                    raise
                # The index was rebuilt meanwhile, which deleted this model.

    def sample(self, n: int) -> GalleryBlock:
        """A query-independent sample of about ``n`` images, largely stable as the collection changes."""
        ids = self._store.sample(self._method, n)
        with self._lock:
            if self._sample is not None and self._sample[0] == ids:
                return self._sample[1]
        block = self._store.select(self._method, ids)
        with self._lock:
            self._sample = ids, block
        return block

    # -- updating ------------------------------------------------------------------------------------------

    def refresh(self, *, rebuild: bool = False, progress: Callable[[int, int], None] | None = None) -> bool:
        """Add the vectors that are missing, or train on the current collection and compute all of them again.

        While another worker does so, there is nothing to do. An interrupted build is continued.
        """
        registered = self._store.info().methods.get(self._method)
        if registered is None or not registered.images:
            return False
        lease = self._store.lease(f"vectors-{self._method}", _LEASE_SECONDS)
        if lease is None:
            return False
        try:
            models = self._table.models()
            newest = models[0] if models else None
            aggregation = None if rebuild or newest is None else self._aggregation(newest.key)
            if newest is not None and aggregation is not None:
                if newest.complete:
                    return self._table.tidy(newest.key)
                key = newest.key
            else:
                self._table.check_support()
                aggregation = aggregate.train(self._store, self._method, self._spec)
                trained_on = min(registered.images, aggregate.SAMPLE_IMAGES)
                lease.renew()
                key = self._table.create(aggregation.to_bytes(), dim=aggregation.dim, trained_on=trained_on)
            while True:
                gaps = next((model.gaps for model in self._table.models() if model.key == key), 0)
                if not self._fill(key, aggregation, lease, progress):
                    return True
                if self._table.finish(key, gaps=gaps):
                    break
            self._table.tidy(key)
            return True
        finally:
            lease.release()

    def _fill(
        self, key: int, aggregation: Aggregation, lease: Lease, progress: Callable[[int, int], None] | None
    ) -> bool:
        """Add the vectors that are missing; returns whether the lease is still held."""
        done, total, last = 0, self._table.count_missing(key), -1
        while len(keys := self._table.missing(key, after=last, limit=_FILLED_AT_ONCE)):
            existing, block = self._store.load(self._method, keys)
            self._table.insert(key, existing, aggregation.vectors(block.features))
            last, done = int(keys[-1]), done + len(keys)
            if not lease.renew():  # this process was suspended, and another one continues
                return False
            if progress:
                progress(min(done, total), total)
        return True

    def verify(self) -> list[str]:
        """Compare the index with the store: which features have a vector, and whether some vectors are right."""
        model = self._model()
        if model is None:
            return []
        missing = self._table.count_missing(model.key)
        problems = []
        if missing and model.complete:
            problems.append(f"{missing} images have {self._method} features but no vector")
        problems += self._table.verify(model.key)
        aggregation = self._aggregation(model.key)
        if aggregation is None:
            return [*problems, f"the model of the vectors of {self._method} is damaged, or of another version"]
        keys = self._store.changes(self._method, None).new
        keys, block = self._store.load(self._method, keys[:: max(1, len(keys) // _VERIFIED_IMAGES)])
        fresh = dict(zip(keys.tolist(), aggregation.vectors(block.features), strict=True))
        ids = dict(zip(keys.tolist(), block.ids, strict=True))
        for key, vector in self._table.vectors(model.key, keys.tolist()).items():
            if not np.allclose(vector.astype(np.float32), fresh[key].astype(np.float32), atol=_TOLERANCE):
                problems.append(f"the {self._method} vector of {ids[key]!r} does not match its features")
        return problems

    # -- parts ---------------------------------------------------------------------------------------------

    def _model(self) -> VectorModel | None:
        """The newest complete model, or else the newest."""
        models = self._table.models()
        return next((model for model in models if model.complete), models[0] if models else None)

    def _aggregation(self, model: int) -> Aggregation | None:
        """The aggregation of a model; ``None`` if it was deleted meanwhile, is damaged, or of another version."""
        with self._lock:
            if self._read[0] == model:
                return self._read[1]
        data = self._table.data(model)
        try:
            aggregation = None if data is None else Aggregation.from_bytes(data, self._spec)
        except ValueError:
            aggregation = None
        with self._lock:
            self._read = model, aggregation
        return aggregation

    def _waiting(self, model: VectorModel | None) -> NDArray[np.int64]:
        """Keys of the images without a vector.

        Raises:
            ShortlistUnavailableError: there are more than ``MOST_WAITING``.
        """
        if model is not None and model.complete:
            return _no_keys()
        state = self.state()
        if state.waiting > MOST_WAITING:
            raise ShortlistUnavailableError(
                f"the index of {self._method} contains {state.indexed:,} of {state.images:,} images",
                hint="build it with imagefinder build-index, or wait until another worker has built it",
            )
        if model is None:
            return self._store.changes(self._method, None).new
        return self._table.missing(model.key, limit=MOST_WAITING)


def _unusable(method: str) -> ShortlistUnavailableError:
    return ShortlistUnavailableError(
        f"the index of {method} is damaged, or was built by another version of imagefinder",
        hint="use the same version on all machines, or build the index again with imagefinder build-index",
    )


def _no_keys() -> NDArray[np.int64]:
    return np.empty(0, dtype=np.int64)


def _proposals(waiting: NDArray[np.int64], keys: NDArray[np.int64], products: NDArray[np.float64]) -> Proposals:
    """The waiting images, followed by the others, best first; ties are ordered by key."""
    order = np.lexsort((keys, -products))
    kept = order[~np.isin(keys[order], waiting)]
    scores = np.concatenate([np.full(len(waiting), np.inf), products[kept]])
    return Proposals(np.concatenate([waiting, keys[kept]]), scores)
