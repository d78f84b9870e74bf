"""The images that a search with a filter may return."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from imagefinder.core.contracts import Store
from imagefinder.core.filters import Filter

FEW = 1000
"""A fast search scores all matching images if there are at most this many."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The images that match the filter of a search.

    Attributes:
        where: The filter.
        count: Number of images that match, which E-values refer to.
        ids: Their ids. ``None`` in a fast search if more than ``FEW`` match: the store then applies the filter to
            the candidates.
    """

    where: Filter
    count: int
    ids: Set[str] | None

    @classmethod
    def of(cls, store: Store, where: Filter | None, *, fast: bool) -> Allowed | None:
        """Evaluate a filter; ``None`` without one.

        Args:
            store: The store of the images.
            where: The filter.
            fast: Whether ANN indexes propose candidates. An exact search scores every image, so it has all ids.
        """
        if where is None:
            return None
        if not fast:
            ids = store.matching(where)
            return cls(where, len(ids), ids.keys())
        first = store.images(where=where, limit=FEW + 1)
        if len(first) <= FEW:
            return cls(where, len(first), {record.id for record in first})
        return cls(where, store.count(where), None)

    def including(self, store: Store, image_id: str) -> Allowed:
        """The same images and one that need not match."""
        if self.ids is not None:
            ids = {*self.ids, image_id}
            return Allowed(self.where, len(ids), ids)
        return Allowed(self.where, self.count + (not store.matching(self.where, [image_id])), None)
