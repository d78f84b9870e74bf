"""From images in memory to images in a store: extraction and storing, batch by batch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from imagefinder.core.contracts import Store
from imagefinder.core.errors import ModelError, StoreError, UnknownImageError
from imagefinder.core.features import Features, RgbImage
from imagefinder.core.method import Method
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.indexing.plan import Task
from imagefinder.indexing.reader import Picture
from imagefinder.indexing.source_item import local_path


class Writer:
    """Collects images that were read, and puts them with their features."""

    def __init__(self, store: Store, methods: Sequence[Method]) -> None:
        """Only stores."""
        self._store = store
        self._methods = methods
        self._batch: list[tuple[Task, Picture]] = []

    def __len__(self) -> int:
        """Images in the batch."""
        return len(self._batch)

    @property
    def nbytes(self) -> int:
        """Bytes of pixels in the batch."""
        return sum(picture.nbytes for _, picture in self._batch)

    def add(self, task: Task, picture: Picture) -> None:
        """Add an image with its pixels to the batch."""
        self._batch.append((task, picture))

    def write(self) -> list[tuple[Task, BaseException | None]]:
        """Extract and put the batch; interrupted and called again, it starts over.

        Returns:
            Each task, durable or with its error. Nothing holds the pixels any more.
        """
        features, errors = self._extract()
        good = [i for i in range(len(self._batch)) if i not in errors]
        further = [i for i in good if _is_known(*self._batch[i])]
        changed = [i for i in good if not _is_known(*self._batch[i])]
        if changed:
            self._store.put([self._entry(*self._batch[i], features[i]) for i in changed])
        for i in further:
            task = self._batch[i][0]
            try:
                self._store.put_features(task.item.id, features[i])
                self.settle(task)
            except UnknownImageError as error:
                errors[i] = error
        tasks, self._batch = [task for task, _ in self._batch], []
        return [(task, errors.get(i)) for i, task in enumerate(tasks)]

    def settle(self, task: Task) -> None:
        """Record where an image was found whose bytes are the known ones."""
        item, known = task.item, task.known
        assert known is not None  # noqa: S101 - its bytes were compared
        if task.owner is None:
            if (item.uri, item.stamp) != (known.uri, known.stamp):
                self._store.touch(item.id, uri=item.uri, stamp=item.stamp)
        elif _is_gone(task.owner.uri):
            # The image has moved: it belongs to this source now, with all that was extracted.
            record = replace(
                self._store.get(item.id),
                uri=item.uri,
                source=item.source,
                stamp=item.stamp,
                metadata=item.metadata or task.owner.metadata,
            )
            methods = self._store.status([item.id])[item.id].methods
            features = {name: self._store.features(item.id, name) for name in methods}
            self._store.put([Entry(record, features, self._store.thumbnail(item.id))])

    def _extract(self) -> tuple[list[dict[str, Features]], dict[int, BaseException]]:
        """Each image's features by method; and by its number, the error of each that a method failed on."""
        features: list[dict[str, Features]] = [{} for _ in self._batch]
        errors: dict[int, BaseException] = {}
        for method in self._methods:
            numbers, images = [], []
            for i, (task, picture) in enumerate(self._batch):
                if picture.decoded and i not in errors and task.extracts(method.name, picture.sha256):
                    numbers.append(i)
                    images.append(picture.decoded.rgb)
            for i, one in zip(numbers, _extract(method, images), strict=True):
                if isinstance(one, Exception):
                    errors[i] = one
                else:
                    features[i][method.name] = one
        return features, errors

    def _entry(self, task: Task, picture: Picture, features: Mapping[str, Features]) -> Entry:
        assert picture.decoded is not None  # noqa: S101 - it is in the batch
        item = task.item
        metadata = item.metadata
        if task.known is not None and not metadata:
            try:
                metadata = self._store.get(item.id).metadata
            except UnknownImageError:  # deleted a moment ago
                metadata = {}
        record = ImageRecord(
            id=item.id,
            uri=item.uri,
            sha256=picture.sha256,
            size_bytes=picture.size,
            width=picture.decoded.width,
            height=picture.decoded.height,
            format=picture.decoded.format,
            source=item.source,
            stamp=item.stamp,
            metadata=metadata,
        )
        return Entry(record, features, picture.thumbnail)


def _extract(method: Method, images: Sequence[RgbImage]) -> list[Features | Exception]:
    """Features of each image; where a batch fails, its images one by one, so that a bad one is found."""
    if not images:
        return []
    try:
        features = method.extractor.extract(images)
    except (ModelError, StoreError):
        raise
    except Exception as error:  # a method may be anybody's code
        if len(images) == 1:
            return [error]
        return [one for image in images for one in _extract(method, [image])]
    if len(features) != len(images):
        raise RuntimeError(f"{method.name} gave features of {len(features)} pictures for {len(images)}")
    return [features.image(i) for i in range(len(images))]


def _is_known(task: Task, picture: Picture) -> bool:
    return task.is_known(picture.sha256)


def _is_gone(uri: str) -> bool:
    """Whether an image has no place any more, or never had a known one."""
    path = local_path(uri)
    return not uri or (path is not None and not os.path.lexists(path))
