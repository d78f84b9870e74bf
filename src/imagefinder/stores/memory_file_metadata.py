"""File metadata of images, and their stacks, in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from imagefinder.core.file_metadata import FileMetadata
from imagefinder.core.records import ImageRecord
from imagefinder.stores import validation


class _ImageWithRecord(Protocol):
    record: ImageRecord


class FileMetadataInMemory:
    """The part of the store that keeps file metadata and finds stacks (``StoreFileMetadata``)."""

    _images: Mapping[str, _ImageWithRecord]

    def _open(self) -> threading.RLock:
        raise NotImplementedError

    def put_file_metadata(self, made: Mapping[str, FileMetadata]) -> None:
        """Replace what files say about the images that exist."""
        valid = {i: validation.normalise_file_metadata(i, made[i]) for i in validation.valid_ids(list(made))}
        with self._open():
            for image_id, found in valid.items():
                if image := self._images.get(image_id):
                    image.record = replace(image.record, file_metadata=found)

    def stacks(self, ids: Sequence[str]) -> dict[str, str]:
        """The stacks of the images that have one, by id."""
        valid = validation.valid_ids(ids)
        with self._open():
            return {i: stack for i in valid if i in self._images and (stack := self._stack(i))}

    def stacked(self, stacks: Sequence[str]) -> dict[str, list[str]]:
        """The ids of the images of each of these stacks, ordered."""
        return self._grouped(stacks, lambda found: found.stack)

    def burst(self, bursts: Sequence[str]) -> dict[str, list[str]]:
        """The ids of the images of each of these bursts, ordered."""
        return self._grouped(bursts, lambda found: found.burst)

    def _stack(self, image_id: str) -> str:
        return self._images[image_id].record.file_metadata.stack

    def _grouped(self, keys: Sequence[str], of: Callable[[FileMetadata], str]) -> dict[str, list[str]]:
        wanted, found = set(keys) - {""}, dict[str, list[str]]()
        with self._open():
            for image_id in sorted(self._images):
                if (key := of(self._images[image_id].record.file_metadata)) in wanted:
                    found.setdefault(key, []).append(image_id)
        return found
