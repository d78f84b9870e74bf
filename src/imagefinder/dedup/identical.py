"""The images of a collection for duplicate detection, and groups of identical images."""

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
"""Called with (stage, done, total); the stages are ``read``, ``propose`` and ``verify``."""

_EVERY = 64


@dataclass(frozen=True, slots=True)
class Item:
    """The part of an image's record that duplicate detection uses.

    Attributes:
        id: Id of the image.
        size: Width and height in pixels.
        size_bytes: Size of the encoded image in bytes.
        added_at: Time of the last put in seconds since 1970.
        sha256: SHA-256 of the encoded image; may be empty.
    """

    id: str
    size: Size
    size_bytes: int
    added_at: float
    sha256: str


def best_first(item: Item) -> tuple[int, int, int, float, str]:
    """Sort key for the image to keep: most pixels, most bytes, shortest id, added first.

    More bytes for the same pixels mean weaker compression, and accidental copies have longer names. The order does
    not detect text or logos added to an image, or upscaling, so users should look before they delete.
    """
    width, height = item.size
    return -width * height, -item.size_bytes, len(item.id), item.added_at, item.id


def items(store: Store) -> list[Item]:
    """All images of a store, best first."""
    return sorted(map(_item, iter_images(store.images)), key=best_first)


def identical(
    store: Store, every: Sequence[Item], methods: Sequence[str], progress: Progress
) -> Iterator[list[Item]]:
    """Groups of images with the same bytes or, by thumbnail and features, the same pixels; best first.

    Args:
        store: The store of the images.
        every: All images, best first.
        methods: Names of the methods whose features are compared.
        progress: Called with (``read``, done, total).
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
    """A digest that identical images share: that of the thumbnail or, without one, of the encoded image."""
    thumbnail = read_thumbnail(store, item.id)
    return hashlib.sha256(thumbnail).digest() if thumbnail else (item.sha256 or item.id).encode()


def _is_same(store: Store, methods: Sequence[str], a: Item, b: Item) -> bool:
    if a.sha256 and a.sha256 == b.sha256:
        return True
    # Images that differ in a detail may have the same thumbnail.
    compared = [(stored_features(store, a.id, name), stored_features(store, b.id, name)) for name in methods]
    return any(x is not None for x, _ in compared) and all(_equal(x, y) for x, y in compared)


def _equal(a: Features | None, b: Features | None) -> bool:
    if isinstance(a, LocalFeatures) and isinstance(b, LocalFeatures):
        return np.array_equal(a.descriptors, b.descriptors) and np.array_equal(a.keypoints, b.keypoints)
    if isinstance(a, GlobalFeatures) and isinstance(b, GlobalFeatures):
        # Networks may round differently in another batch.
        return bool(np.abs(a.vectors - b.vectors).max() <= 1e-4 * np.abs(a.vectors).max())
    return a is None and b is None
