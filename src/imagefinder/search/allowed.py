"""The images that a search with a filter may return."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace

from imagefinder.core.contracts import Store
from imagefinder.core.filters import Filter

FEW = 1000
"""A fast search scores all matching images if there are at most this many."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The images that match the filter of a search.

    Attributes:
        where: The filter.
        count: Number of images that match.
        stacks: The same, with the images of a stack counted as one.
        ids: Their ids. ``None`` in a fast search if more than ``FEW`` match: the store then applies the filter to
            the candidates.
    """

    where: Filter
    count: int
    stacks: int
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
            return cls._of_ids(where, store.matching(where))
        first = store.images(where=where, limit=FEW + 1)
        if len(first) <= FEW:
            return cls._of_ids(where, {record.id: record.file_metadata.stack for record in first})
        return replace(cls._of_ids(where, store.matching(where)), ids=None)

    @classmethod
    def _of_ids(cls, where: Filter, stacks: Mapping[str, str]) -> Allowed:
        """The images with these ids and stacks."""
        number = len({stack or (image_id,) for image_id, stack in stacks.items()})
        return cls(where, len(stacks), number, stacks.keys())

    def including(self, store: Store, image_id: str) -> Allowed:
        """The same images and one that need not match."""
        if self.ids is not None:
            more = image_id not in self.ids
            return replace(self, count=self.count + more, stacks=self.stacks + more, ids={*self.ids, image_id})
        more = not store.matching(self.where, [image_id])
        return replace(self, count=self.count + more, stacks=self.stacks + more)
