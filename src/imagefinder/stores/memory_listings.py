"""Sorted listings of a store in memory: the reference for those of other stores."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from imagefinder.core.listing import (
    BY_ID,
    EVERYTHING,
    Group,
    GroupBy,
    ListPosition,
    Order,
    Selection,
    collapsed,
    group_values,
    listing_row,
    merged,
)
from imagefinder.core.records import ImageRecord
from imagefinder.stores import validation


class _Stored(Protocol):
    record: ImageRecord


class ListingsInMemory:
    """Listings that sort all images at each call."""

    _images: Mapping[str, _Stored]

    def _open(self) -> threading.RLock:
        raise NotImplementedError

    def listing(
        self,
        selection: Selection = EVERYTHING,
        order: Order = BY_ID,
        *,
        after: ListPosition | None = None,
        offset: int = 0,
        limit: int = 100,
    ) -> list[ImageRecord]:
        """A page of matching records in this order."""
        validation.check_position(after)
        with self._open():
            found = [(order.position(record), record) for record in self._selected(selection)]
        if after is not None:
            start = _key(after)
            found = [one for one in found if (_key(one[0]) < start if order.descending else _key(one[0]) > start)]
        found.sort(key=lambda one: _key(one[0]), reverse=order.descending)
        page = found[max(offset, 0) : max(offset, 0) + max(limit, 0)]
        return [validation.normalise_image(record) for _, record in page]

    def groups(
        self,
        by: GroupBy,
        selection: Selection = EVERYTHING,
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[Group]:
        """The groups of the matching images, ordered by value."""
        validation.check_text("start group", after or "")
        with self._open():
            values = [value for one in self._selected(selection) for value in group_values(listing_row(one), by)]
        return merged(Counter(values).items(), by, after, limit)

    def edit_metadata(self, ids: Sequence[str], edit: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> int:
        """Replace the metadata of the images that exist; returns how many changed."""
        changed = {}
        with self._open():
            for image_id in validation.valid_ids(ids):
                if image_id in self._images:
                    old = validation.normalise_image(self._images[image_id].record)
                    new = validation.normalise_image(replace(old, metadata=edit(old.metadata)))
                    if new.metadata != self._images[image_id].record.metadata:
                        changed[image_id] = new
            for image_id, record in changed.items():
                self._images[image_id].record = record
        return len(changed)

    def _selected(self, selection: Selection) -> list[ImageRecord]:
        records = [image.record for image in self._images.values()]
        return [
            record
            for record in (collapsed(records) if selection.collapsed else records)
            if selection.accepts(listing_row(record)) and selection.accepts_record(record)
        ]


def _key(position: ListPosition) -> tuple[str | int | float, str]:
    return position.value, position.id
