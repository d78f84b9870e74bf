"""Images of a collection as duplicates see them, and groups of identical ones."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from imagefinder.core.contracts import Store
from imagefinder.core.features import Features, GlobalFeatures, LocalFeatures
from imagefinder.core.paging import iter_images
from imagefinder.core.records import ImageRecord
from imagefinder.core.results import Size
from imagefinder.search.candidates import read_thumbnail
from imagefinder.search.verification import stored_features

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with the stage (``read``, ``propose``, ``verify``), how much of it is done, and how much there is."""

_EVERY = 64


@dataclass(frozen=True, slots=True)
class Item:
    """What is known of an image without its pixels.

    Attributes:
        id: Of the image.
        size: Width and height.
        size_bytes: Of the encoded image.
        added_at: Seconds since 1970.
        sha256: Of the encoded image; may be empty.
    """

    id: str
    size: Size
    size_bytes: int
    added_at: float
    sha256: str


def best_first(item: Item) -> tuple[int, int, int, float, str]:
    """The order of what is proposed to be kept: most pixels, most bytes, shortest id, added first.

    More bytes for the same pixels mean weaker compression, and copies made by accident have longer names. Nothing
    is known of what was written or pasted upon an image, nor whether its pixels were gained by enlarging: look
    before you delete.
    """
    width, height = item.size
    return -width * height, -item.size_bytes, len(item.id), item.added_at, item.id


def items(store: Store) -> list[Item]:
    """All images of a store, best first."""
    return sorted(map(_item, iter_images(store.images)), key=best_first)


def identical(
    store: Store, every: Sequence[Item], methods: Sequence[str], progress: Progress
) -> Iterator[list[Item]]:
    """Groups of the same bytes or, as far as thumbnail and features tell, the same pixels; each best first.

    Args:
        store: Holds the images.
        every: All of them, best first.
        methods: Names of the methods whose features are compared.
        progress: Called with the stage ``read``.
    """
    by_look: dict[tuple[Size, bytes], list[Item]] = defaultdict(list)
    for number, item in enumerate(every, 1):
        by_look[item.size, _look_of(store, item)].append(item)
        if number % _EVERY == 0 or number == len(every):
            progress("read", number, len(every))
    for alike in by_look.values():
        classes: list[list[Item]] = []
        for item in alike:
            for group in classes:
                if _is_same(store, methods, group[0], item):
                    group.append(item)
                    break
            else:
                classes.append([item])
        yield from (group for group in classes if len(group) > 1)


def _item(record: ImageRecord) -> Item:
    return Item(record.id, (record.width, record.height), record.size_bytes, record.added_at, record.sha256)


def _look_of(store: Store, item: Item) -> bytes:
    """What identical images have in common: a digest of the thumbnail or, without one, that of the bytes."""
    thumbnail = read_thumbnail(store, item.id)
    return hashlib.sha256(thumbnail).digest() if thumbnail else (item.sha256 or item.id).encode()


def _is_same(store: Store, methods: Sequence[str], a: Item, b: Item) -> bool:
    if a.sha256 and a.sha256 == b.sha256:
        return True
    # Thumbnails alone are the same for images that differ in a detail.
    compared = [(stored_features(store, a.id, name), stored_features(store, b.id, name)) for name in methods]
    return any(x is not None for x, _ in compared) and all(_equal(x, y) for x, y in compared)


def _equal(a: Features | None, b: Features | None) -> bool:
    if isinstance(a, LocalFeatures) and isinstance(b, LocalFeatures):
        return np.array_equal(a.descriptors, b.descriptors) and np.array_equal(a.keypoints, b.keypoints)
    if isinstance(a, GlobalFeatures) and isinstance(b, GlobalFeatures):
        # In another batch a network may round differently.
        return bool(np.abs(a.vectors - b.vectors).max() <= 1e-4 * np.abs(a.vectors).max())
    return a is None and b is None
