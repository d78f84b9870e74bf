"""The contract of tables of vectors in a store that many machines share, which an ANN index searches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.filters import Filter

Halves = NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class VectorModel:
    """A trained model that turns features into vectors, and the vectors made with it.

    From its creation on, every writer of features also writes their vectors, in the same transaction. The worker
    that builds the index adds the vectors of older features. A writer that cannot use the data of the model stores
    its features without vectors, and the model is not complete any more.

    Attributes:
        key: Identifies it; the keys of later models are greater.
        trained_on: Number of images that it was trained on.
        complete: Whether all features have a vector.
        gaps: Number of times that a writer could not use the model.
    """

    key: int
    trained_on: int
    complete: bool
    gaps: int = 0


class VectorTable(Protocol):
    """The models of one method of a collection, and their vectors, by the keys of features (``Changes``)."""

    def models(self) -> list[VectorModel]:
        """All models, the newest first."""
        ...

    def data(self, model: int) -> bytes | None:
        """The data of a model; ``None`` if it was replaced meanwhile."""
        ...

    def check_support(self) -> None:
        """Check that models can be created, before one is trained.

        Raises:
            StoreError: they cannot; the message says what to install, or which right is missing.
        """
        ...

    def create(self, data: bytes, *, dim: int, trained_on: int) -> int:
        """Create a model; returns its key. Older incomplete models are deleted.

        Raises:
            MethodNotIndexedError: the method is not registered.
        """
        ...

    def missing(self, model: int, *, after: int = -1, limit: int) -> NDArray[np.int64]:
        """Keys of up to ``limit`` features without a vector, ascending, greater than ``after``."""
        ...

    def count_missing(self, model: int) -> int:
        """The number of features without a vector."""
        ...

    def insert(self, model: int, keys: NDArray[np.int64], vectors: Halves) -> None:
        """Add vectors; existing ones of the same keys are kept.

        Args:
            model: Key of the model.
            keys: ``(N,)`` int64.
            vectors: ``(N, D)`` float16.
        """
        ...

    def finish(self, model: int, *, gaps: int) -> bool:
        """Mark a model as complete, and delete the older ones.

        Returns:
            Whether the model has this number of gaps; otherwise there are features without a vector again.
        """
        ...

    def tidy(self, model: int) -> bool:
        """Delete vectors of removed features, and build the graph that speeds up searches, if that is due.

        Returns:
            Whether there was anything to do.
        """
        ...

    def nearest(
        self, model: int, queries: Halves, n: int, where: Filter | None = None
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Keys and inner products of the ``n`` best vectors for each query, in no order.

        Vectors of removed features are left out.

        Args:
            model: Key of the model.
            queries: ``(Q, D)`` float16.
            n: Number of vectors.
            where: Only images that match this filter; fewer than ``n`` if it is very narrow.
        """
        ...

    def vectors(self, model: int, keys: Sequence[int]) -> dict[int, Halves]:
        """Key -> vector, of those that exist."""
        ...

    def verify(self, model: int) -> list[str]:
        """Sentences about differences between the vectors and what is searched, if that is a copy of them."""
        ...

    def nbytes(self, model: int) -> int:
        """Bytes of the vectors and of the graph."""
        ...


@runtime_checkable
class SupportsVectors(Protocol):
    """A store with tables of vectors."""

    def vector_table(self, method: str) -> VectorTable:
        """The vectors of a method, which need not be registered."""
        ...
