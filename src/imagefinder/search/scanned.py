"""The features and matches of the images that a search compared, for what follows.

Features are not read again, and images are not matched again.
"""

from __future__ import annotations

import weakref
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Store
from imagefinder.core.errors import MethodNotIndexedError
from imagefinder.core.features import Features, take
from imagefinder.core.records import GalleryBlock


class Scanned:
    """Images of a store in the order in which their blocks were compared, and their features by one method.

    Blocks of a scan are referred to weakly: those that the store caches stay where they are, and all others are
    released as soon as they are compared, so a scan needs the memory of one block. Their images are selected from
    the store if they are needed again.
    """

    def __init__(self, store: Store, method: str) -> None:
        """Create an empty sequence of images with features by this method."""
        self._store = store
        self._method = method
        self._blocks: list[weakref.ref[GalleryBlock]] = []
        self._starts: list[int] = []
        self._kept: list[GalleryBlock] = []
        self._rows: dict[str, int] = {}
        self._matches: dict[tuple[int, int], NDArray[np.int64]] = {}
        self.ids: list[str] = []

    def add(self, block: GalleryBlock, *, keep: bool = False) -> None:
        """Append the images of a block; with ``keep``, the block stays in memory with this object."""
        self._starts.append(len(self.ids))
        self._blocks.append(weakref.ref(block))
        self.ids += block.ids
        if keep:
            self._kept.append(block)

    def keep_matches(self, view: int, row: int, matches: NDArray[np.int64]) -> None:
        """Keep the matches of an image, ``(M, 2)``, with one augmentation of the query."""
        self._matches[view, row] = matches

    def matches(self, image_id: str, view: int) -> NDArray[np.int64] | None:
        """The matches kept; ``None`` if there are none, or ``features`` may differ from those matched."""
        row = self._numbers().get(image_id)
        if row is None or self._blocks[bisect_right(self._starts, row) - 1]() is None:
            return None
        return self._matches.get((view, row))

    def features(self, ids: Iterable[str]) -> dict[str, Features]:
        """Id -> features as a batch of one; unknown images, and those removed meanwhile, are left out.

        Raises:
            CollectionCorruptError: features do not match their checksum.
        """
        found: dict[str, Features] = {}
        for block, rows in self._blocks_of(ids):
            found.update((block.ids[row], block.features.image(row)) for row in rows)
        return found

    def blocks(self, ids: Iterable[str]) -> Iterator[GalleryBlock]:
        """The same features in blocks, in any order.

        Raises:
            CollectionCorruptError: features do not match their checksum.
        """
        for block, rows in self._blocks_of(ids):
            if rows:
                yield GalleryBlock(tuple(block.ids[row] for row in rows), take(block.features, rows))

    def _numbers(self) -> Mapping[str, int]:
        """Image id -> row."""
        if len(self._rows) < len(self.ids):
            self._rows = {image_id: row for row, image_id in enumerate(self.ids)}
        return self._rows

    def _blocks_of(self, ids: Iterable[str]) -> Iterator[tuple[GalleryBlock, Sequence[int]]]:
        """The blocks with these images, and the rows of the images in each."""
        known = self._numbers()
        numbers = defaultdict[int, list[int]](list)
        for image_id in ids:
            if (row := known.get(image_id)) is not None:
                numbers[bisect_right(self._starts, row) - 1].append(row)
        missing: list[str] = []
        for number, rows in numbers.items():
            block = self._blocks[number]()
            if block is None:
                missing += [self.ids[row] for row in rows]
            else:
                yield block, [row - self._starts[number] for row in rows]
        if missing:
            with suppress(MethodNotIndexedError):  # the method was removed meanwhile
                block = self._store.select(self._method, missing)
                yield block, range(len(block.ids))
