"""Extract features and store images, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from imagefinder.core.contracts import Store
from imagefinder.core.errors import ModelError, StoreError, UnknownImageError
from imagefinder.core.features import Features, RgbImage, rescale
from imagefinder.core.file_metadata import FileMetadata
from imagefinder.core.method import Method
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.indexing.known_images import KnownImages
from imagefinder.indexing.missing import is_gone
from imagefinder.indexing.plan import Task
from imagefinder.indexing.reader import ReadImage
from imagefinder.indexing.stacks import merge_bursts
from imagefinder.indexing.thumbnails import ThumbnailIndexer

_REFRESHED = 256
"""Number of file metadata that are written at once."""


class Written(NamedTuple):
    """The outcome of a task.

    Attributes:
        task: The task.
        moved: Whether the file of a stored image was moved or renamed; the earlier id is gone.
        error: Why it failed; ``None`` if the image is durable.
    """

    task: Task
    moved: bool
    error: BaseException | None


class Writer:
    """Collects a batch of images, extracts their features and stores both."""

    def __init__(
        self, store: Store, methods: Sequence[Method], known: KnownImages, thumbnails: ThumbnailIndexer | None
    ) -> None:
        """Start with an empty batch; without ``thumbnails``, images are stored without features of thumbnails."""
        self._store = store
        self._methods = methods
        self._known = known
        self._thumbnails = thumbnails
        self._batch: list[tuple[Task, ReadImage]] = []
        self._refreshed: dict[str, FileMetadata] = {}
        self._bursts: set[str] = set()

    def __len__(self) -> int:
        """Number of images in the batch."""
        return len(self._batch)

    @property
    def nbytes(self) -> int:
        """Bytes of pixels and known features in the batch."""
        return sum(image.nbytes for _, image in self._batch)

    def add(self, task: Task, image: ReadImage) -> None:
        """Add an image with its pixels or known features to the batch."""
        self._batch.append((task, image))

    def write(self) -> list[Written]:
        """Extract and store the batch, then clear it; after an interruption, call it again.

        Returns:
            The outcome of each task. The pixels have been freed.
        """
        features, errors = self._extract()
        good = [i for i in range(len(self._batch)) if i not in errors]
        further = [i for i in good if _is_stored(*self._batch[i])]
        changed = [i for i in good if not _is_stored(*self._batch[i])]
        moved: dict[int, ImageRecord] = {}
        for i in changed:
            task, image = self._batch[i]
            others = {record.id for record in moved.values()}
            if origin := self._known.moved(task.item, image.sha256, others):
                moved[i] = origin
        if changed:
            entries = [self._entry(*self._batch[i], features[i], moved.get(i)) for i in changed]
            read = [self._batch[i][1].known for i in changed]
            entries = self._with_thumbnail_features(entries, [one.image.id if one else "" for one in read])
            self._store.put(entries, replacing=[record.id for record in moved.values()])
        for i in further:
            task, image = self._batch[i]
            try:
                self._store.put_features(task.item.id, features[i])
                self.update(task, image)
            except UnknownImageError as error:
                errors[i] = error
        self._write_refreshed()
        tasks, self._batch = [task for task, _ in self._batch], []
        return [Written(task, i in moved, errors.get(i)) for i, task in enumerate(tasks)]

    def update(self, task: Task, image: ReadImage) -> None:
        """Record the location and the file metadata of an image whose bytes have not changed."""
        item, stored = task.item, task.stored
        assert stored is not None  # noqa: S101 - its bytes were compared
        if task.owner is None:
            if (item.uri, item.stamp) != (stored.uri, stored.stamp):
                self._store.touch(item.id, uri=item.uri, stamp=item.stamp)
            if image.file_metadata.stamp:
                self._refreshed[item.id] = image.file_metadata
                if len(self._refreshed) >= _REFRESHED:
                    self._write_refreshed()
        elif not task.owner.uri or is_gone(task.owner.uri):
            # The file has moved: the image now belongs to this source and keeps its features.
            record = replace(
                self._store.get(item.id),
                uri=item.uri,
                source=item.source,
                stamp=item.stamp,
                metadata=item.metadata or task.owner.metadata,
                file_metadata=self._noted(image.file_metadata),
            )
            status = self._store.status([item.id]).get(item.id)
            if status is None:  # deleted a moment ago
                raise UnknownImageError(item.id)
            features = {name: self._store.features(item.id, name) for name in status.methods}
            entry = Entry(record, features, self._store.thumbnail(item.id))
            self._store.put(self._with_thumbnail_features([entry], [item.id]))

    def merge_bursts(self) -> None:
        """Join the stacks of the bursts whose images were written."""
        merge_bursts(self._store, self._bursts)

    def _write_refreshed(self) -> None:
        if self._refreshed:
            self._store.put_file_metadata({i: self._noted(found) for i, found in self._refreshed.items()})
            self._refreshed = {}

    def _noted(self, found: FileMetadata) -> FileMetadata:
        self._bursts.update({found.burst} - {""})
        return found

    def _with_thumbnail_features(self, entries: list[Entry], origins: Sequence[str]) -> list[Entry]:
        return self._thumbnails.with_features(entries, origins) if self._thumbnails else entries

    def _extract(self) -> tuple[list[dict[str, Features]], dict[int, BaseException]]:
        """Features of each image by method, and errors by position in the batch."""
        features: list[dict[str, Features]] = [{} for _ in self._batch]
        errors: dict[int, BaseException] = {}
        for method in self._methods:
            numbers, images = [], []
            for i, (task, image) in enumerate(self._batch):
                if image.decoded and i not in errors and task.extracts(method.name, image.sha256):
                    numbers.append(i)
                    images.append(image.decoded.rgb)
            for i, one in zip(numbers, _extract(method, images), strict=True):
                if isinstance(one, Exception):
                    errors[i] = one
                elif decoded := self._batch[i][1].decoded:
                    features[i][method.name] = rescale(one, decoded.rgb, (decoded.width, decoded.height))
        return features, errors

    def _entry(
        self, task: Task, image: ReadImage, features: Mapping[str, Features], origin: ImageRecord | None
    ) -> Entry:
        item = task.item
        metadata = item.metadata or (origin.metadata if origin else {})
        if task.stored is not None and not metadata:
            try:
                metadata = self._store.get(item.id).metadata
            except UnknownImageError:  # deleted a moment ago
                metadata = {}
        found = image.known.image if image.known else image.decoded
        assert found is not None  # noqa: S101 - it is in the batch
        record = ImageRecord(
            id=item.id,
            uri=item.uri,
            sha256=image.sha256,
            size_bytes=image.size,
            width=found.width,
            height=found.height,
            format=found.format,
            source=item.source,
            stamp=item.stamp,
            metadata=metadata,
            file_metadata=self._noted(image.file_metadata),
        )
        if image.known:
            return Entry(record, image.known.features, image.known.thumbnail)
        return Entry(record, features, image.thumbnail)


def _extract(method: Method, images: Sequence[RgbImage]) -> list[Features | Exception]:
    """Features of each image; if the batch fails, each image is tried alone to find the one that fails."""
    if not images:
        return []
    try:
        features = method.extractor.extract(images)
    except (ModelError, StoreError):
        raise
    except Exception as error:  # a third-party method may raise anything
        if len(images) == 1:
            return [error]
        return [result for image in images for result in _extract(method, [image])]
    if len(features) != len(images):
        raise RuntimeError(f"{method.name} returned features of {len(features)} images instead of {len(images)}")
    return [features.image(i) for i in range(len(images))]


def _is_stored(task: Task, image: ReadImage) -> bool:
    return task.is_stored(image.sha256)
