"""A store in memory, for experiments and tests; the reference implementation of the ``Store`` contract."""

from __future__ import annotations

import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import MethodNotIndexedError, StoreError, UnknownImageError
from imagefinder.core.features import Features, FeatureSpec, concatenate
from imagefinder.core.filters import Filter, contains_text
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.previews import KeptKind
from imagefinder.core.records import (
    NO_FEATURES,
    Changes,
    Cursor,
    Damage,
    DerivedData,
    Entry,
    Failure,
    GalleryBlock,
    ImageRecord,
    ImageStatus,
    MethodInfo,
    Removal,
    StoreInfo,
    ThumbnailFeatures,
)
from imagefinder.core.store_parts import Lease
from imagefinder.stores import validation
from imagefinder.stores.arrays import blocks, checksum, read_only, stored_bytes
from imagefinder.stores.digests import entry_digest
from imagefinder.stores.memory_derived import DerivedInMemory
from imagefinder.stores.memory_feed import FeedInMemory
from imagefinder.stores.memory_file_metadata import FileMetadataInMemory
from imagefinder.stores.memory_listings import ListingsInMemory
from imagefinder.stores.memory_thumbnails import ThumbnailsInMemory, read_only_thumbnail


@dataclass(slots=True)
class _Image:
    record: ImageRecord
    thumbnail: bytes
    thumbnail_features: ThumbnailFeatures | None = None
    features: dict[str, Features] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    kept: Mapping[KeptKind, bytes] = field(default_factory=dict)


class MemoryStore(ListingsInMemory, ThumbnailsInMemory, FileMetadataInMemory):
    """Stores everything in dictionaries; arrays are copied on input."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._images: dict[str, _Image] = {}
        self._methods: dict[str, tuple[Fingerprint, FeatureSpec]] = {}
        self._failures: dict[str, Failure] = {}
        self._removals: dict[tuple[str, str], Removal] = {}
        self._derived = DerivedInMemory()
        self._closed = False
        self._feed = FeedInMemory()

    def register(self, fingerprint: Fingerprint, spec: FeatureSpec) -> None:
        """Register a method before its features are put."""
        validation.check_text("method name", fingerprint.method)
        name = fingerprint.method
        with self._open():
            if name in self._methods and self._images_with(name):
                error = validation.fingerprint_mismatch(*self._methods[name], fingerprint, spec)
                if error:
                    raise error
            self._methods[name] = (Fingerprint.from_json(fingerprint.to_json()), spec)

    def unregister(self, method: str) -> None:
        """Delete a method and all its features; an unknown method is ignored."""
        with self._open():
            self._methods.pop(method, None)
            for image in self._images.values():
                self._drop_features(image, [method])

    def put(self, entries: Sequence[Entry], *, replacing: Sequence[str] = (), copied: bool = False) -> None:
        """Add or replace images, all or none of them, after removing the ids in ``replacing``."""
        plain = validation.normalise_entries(entries)
        with self._open():
            for entry in plain:
                validation.check_registered(entry.features, self._specs())
            self.delete(replacing)
            for entry in plain:
                for key in [key for key in self._removals if key[0] == entry.image.id]:
                    if key[1] == entry.image.uri or not entry.image.source:
                        del self._removals[key]
            for entry in plain:
                image_id = entry.image.id
                if image_id in self._images:
                    self._drop_features(self._images[image_id], list(self._images[image_id].features))
                record = entry.image if copied else replace(entry.image, added_at=time.time())
                image = _Image(
                    record, entry.thumbnail, read_only_thumbnail(entry.thumbnail_features), kept=entry.kept
                )
                self._add_features(image, entry.features)
                self._images[image_id] = image
                self._failures.pop(image_id, None)

    def put_features(self, image_id: str, features: Mapping[str, Features]) -> None:
        """Add or replace features of a stored image."""
        validation.check_one_image(image_id, features)
        with self._open():
            validation.check_registered(features, self._specs())
            image = self._image(image_id)
            self._drop_features(image, list(features))
            self._add_features(image, features)

    def touch(self, image_id: str, *, uri: str, stamp: str) -> None:
        """Update the URI and stamp of an unchanged image; an unknown id is ignored."""
        validation.check_text("uri", uri)
        validation.check_text("stamp", stamp)
        with self._open():
            image = self._images.get(image_id)
            if image:
                image.record = replace(image.record, uri=uri, stamp=stamp)

    def delete(self, ids: Sequence[str], *, remember: bool = False) -> int:
        """Delete images; returns how many existed."""
        valid = validation.valid_ids(ids)
        with self._open():
            for image_id in valid if remember else ():
                record = self._images[image_id].record if image_id in self._images else None
                if record and record.uri:
                    self._removals[image_id, record.uri] = Removal(
                        image_id, record.uri, record.sha256, record.source, time.time()
                    )
            found = [self._images.pop(image_id) for image_id in valid if image_id in self._images]
            for image in found:
                self._drop_features(image, list(image.features))
            return len(found)

    def removals(
        self,
        *,
        after: str = "",
        limit: int | None = None,
        ids: Sequence[str] | None = None,
        sha256: str | None = None,
    ) -> list[Removal]:
        """Recorded removals, ordered by id and URI."""
        validation.check_text("start id", after)
        wanted = None if ids is None else set(validation.valid_ids(ids))
        with self._open():
            found = [
                removal
                for _, removal in sorted(self._removals.items())
                if removal.id > after
                and (wanted is None or removal.id in wanted)
                and (sha256 is None or removal.sha256 == sha256)
            ]
        if limit is None or limit >= len(found) or limit <= 0:
            return found if limit is None or limit > 0 else []
        return [removal for removal in found if removal.id <= found[limit - 1].id]

    def forget_removals(self, ids: Sequence[str]) -> int:
        """Delete recorded removals; returns how many there were."""
        valid = set(validation.valid_ids(ids))
        with self._open():
            found = [key for key in self._removals if key[0] in valid]
            for key in found:
                del self._removals[key]
            return len(found)

    def record_removals(self, removals: Sequence[Removal]) -> None:
        """Record removals of another store."""
        validation.check_removals(removals)
        with self._open():
            self._removals.update({(removal.id, removal.uri): removal for removal in removals})

    def move_removal(self, removal: Removal, moved: Removal) -> None:
        """Replace a recorded removal by that of the new id and URI of its file; an unknown one is ignored."""
        with self._open():
            if self._removals.pop((removal.id, removal.uri), None):
                self._removals[moved.id, moved.uri] = moved

    def digests(self, ids: Sequence[str]) -> dict[str, str]:
        """Digests of the images that exist, by id."""
        valid = validation.valid_ids(ids)
        with self._open():
            return {image_id: entry_digest(self.entry(image_id)) for image_id in valid if image_id in self._images}

    def count(self, where: Filter | None = None, *, stacks: bool = False) -> int:
        """The number of images, or stacks, that match the filter."""
        with self._open():
            found = self._images if where is None else self.matching(where)
            return len({self._stack(image_id) or (image_id,) for image_id in found}) if stacks else len(found)

    def matching(self, where: Filter, ids: Sequence[str] | None = None) -> dict[str, str]:
        """The ids, among the given ones, of the images that match the filter, with their stacks."""
        with self._open():
            among = self._images if ids is None else self._images.keys() & validation.valid_ids(ids)
            return {i: self._stack(i) for i in among if where.matches(self._images[i].record.filterable)}

    def entry(self, image_id: str) -> Entry:
        """An image with its features and thumbnail."""
        with self._open():
            image = self._image(image_id)
            return Entry(self.get(image_id), dict(image.features), image.thumbnail)

    def kept(self, ids: Sequence[str], kind: KeptKind) -> dict[str, bytes]:
        """The previews or originals of the images that have one, by id."""
        with self._open():
            found = {i: self._images[i].kept.get(kind) for i in validation.valid_ids(ids) if i in self._images}
        return {image_id: data for image_id, data in found.items() if data}

    def kept_sizes(self, ids: Sequence[str]) -> dict[str, dict[KeptKind, int]]:
        """Bytes of what is kept of images, by id and kind."""
        with self._open():
            found = {i: self._images[i].kept for i in validation.valid_ids(ids) if i in self._images}
        return {i: {kind: len(data) for kind, data in kept.items()} for i, kept in found.items() if kept}

    def copies(self, sha256: str) -> list[ImageRecord]:
        """The images with these bytes, ordered by id."""
        with self._open():
            return [self.get(i) for i in sorted(self._images) if self._images[i].record.sha256 == sha256]

    def sample(self, method: str, n: int) -> list[str]:
        """Ids of the images with the smallest hashes of their content, in the order of the hashes."""
        with self._open():
            self._spec(method)
            images = {image.record.id: image for image in self._images_with(method)}
        first: dict[str, str] = {}
        for image_id in sorted(images, reverse=True):  # the smallest id of each hash stays
            image = images[image_id]
            first[image.record.sha256 or f"{checksum('', image.features[method]):08x}"] = image_id
        return [image_id for _, image_id in sorted(first.items())[: max(n, 0)]]

    def equivalents(self, image_id: str) -> list[str]:
        """The stored ids that differ from this one at most in Unicode normalisation."""
        if not validation.is_valid_id(image_id):
            return []
        composed = unicodedata.normalize("NFC", image_id)
        with self._open():
            return sorted(i for i in self._images if unicodedata.normalize("NFC", i) == composed)

    def is_in_place(self) -> bool:
        """True: there are no files."""
        return True

    def get(self, image_id: str) -> ImageRecord:
        """The record of an image."""
        with self._open():
            return validation.normalise_image(self._image(image_id).record)  # a caller may change its metadata

    def thumbnail(self, image_id: str) -> bytes:
        """The JPEG thumbnail of an image; empty if it has none."""
        with self._open():
            return self._image(image_id).thumbnail

    def records(self, ids: Sequence[str]) -> dict[str, ImageRecord]:
        """The records of the images that exist, by id."""
        valid = validation.valid_ids(ids)
        with self._open():
            return {image_id: self.get(image_id) for image_id in valid if image_id in self._images}

    def thumbnails(self, ids: Sequence[str]) -> dict[str, bytes]:
        """The JPEG thumbnails of the images that exist, by id; empty for an image without one."""
        valid = validation.valid_ids(ids)
        with self._open():
            return {image_id: self._images[image_id].thumbnail for image_id in valid if image_id in self._images}

    def features(self, image_id: str, method: str) -> Features:
        """The features of one image and method (a batch of one)."""
        with self._open():
            features = self._image(image_id).features
            if method not in features:
                raise MethodNotIndexedError(method, features, image_id)
            return features[method]

    def status(self, ids: Sequence[str]) -> dict[str, ImageStatus]:
        """The status of the images that exist, by id."""
        valid = validation.valid_ids(ids)
        with self._open():
            return {
                image_id: ImageStatus(
                    image.record.sha256,
                    image.record.stamp,
                    image.record.uri,
                    frozenset(image.features),
                    image.record.file_metadata.stamp,
                )
                for image_id in valid
                if (image := self._images.get(image_id))
            }

    def images(
        self,
        *,
        after: str = "",
        limit: int = 100,
        source: str | None = None,
        where: Filter | None = None,
        contains: str = "",
    ) -> list[ImageRecord]:
        """A page of matching records ordered by id, after the id ``after``."""
        validation.check_text("start id", after)
        with self._open():
            page = sorted(
                image_id
                for image_id, image in self._images.items()
                if image_id > after
                and source in (None, image.record.source)
                and (where is None or where.matches(image.record.filterable))
                and (not contains or contains_text(contains, image_id, image.record.searchable))
            )
            return [
                validation.normalise_image(self._images[image_id].record) for image_id in page[: max(limit, 0)]
            ]

    def scan(self, method: str) -> Iterator[GalleryBlock]:
        """Yield all images with features of a method, in blocks."""
        with self._open():
            spec = self._spec(method)
            entries = [
                (i, image.features[method]) for i, image in self._images.items() if method in image.features
            ]
        return blocks(spec, entries)

    def select(self, method: str, ids: Sequence[str]) -> GalleryBlock:
        """The features of the given images in this order; images without any are skipped."""
        valid = validation.valid_ids(ids)
        with self._open():
            spec = self._spec(method)
            found = {
                image_id: image.features[method]
                for image_id in valid
                if (image := self._images.get(image_id)) and method in image.features
            }
        return GalleryBlock(tuple(found), concatenate(spec, list(found.values())))

    def changes(self, method: str, since: Cursor | None) -> Changes:
        """Changes of the features of a method since a cursor."""
        with self._open():
            if method not in self._methods:
                return NO_FEATURES
            existing = [
                (image.keys[method], stored_bytes(image.features[method])) for image in self._images_with(method)
            ]
            return self._feed.changes(method, existing, since)

    def load(
        self, method: str, keys: NDArray[np.int64], *, where: Filter | None = None
    ) -> tuple[NDArray[np.int64], GalleryBlock]:
        """The existing keys whose images match the filter, ascending, and their features."""
        valid = set(keys.tolist())
        with self._open():
            spec = self._spec(method)
            matching = sorted(
                (image.keys[method], image_id)
                for image_id, image in self._images.items()
                if image.keys.get(method) in valid and (where is None or where.matches(image.record.filterable))
            )
            parts = [self._images[image_id].features[method] for _, image_id in matching]
        found = np.array([key for key, _ in matching], dtype=np.int64)
        return found, GalleryBlock(tuple(image_id for _, image_id in matching), concatenate(spec, parts))

    def checksums(self, method: str, keys: NDArray[np.int64]) -> dict[int, int]:
        """Checksums of the existing keys, by key."""
        found, block = self.load(method, keys)
        return {
            key: checksum(image_id, block.features.image(number))
            for number, (key, image_id) in enumerate(zip(found.tolist(), block.ids, strict=True))
        }

    def record_failures(self, failures: Sequence[Failure], *, copied: bool = False) -> None:
        """Record images that could not be indexed; a repeated id counts another attempt."""
        plain = validation.normalise_failures(failures)
        with self._open():
            for failure in plain:
                if copied:
                    self._failures[failure.id] = failure
                    continue
                before = self._failures.get(failure.id)
                attempts = before.attempts + 1 if before else 1
                self._failures[failure.id] = replace(failure, attempts=attempts, at=time.time())

    def failures(self, *, after: str = "", limit: int | None = None) -> list[Failure]:
        """Recorded failures ordered by id, after the id ``after``."""
        validation.check_text("start id", after)
        with self._open():
            page = sorted((one for one in self._failures.values() if one.id > after), key=lambda one: one.id)
        return page if limit is None else page[: max(limit, 0)]

    def forget_failures(self, ids: Sequence[str]) -> None:
        """Delete recorded failures; unknown ids are ignored."""
        valid = validation.valid_ids(ids)
        with self._open():
            for image_id in valid:
                self._failures.pop(image_id, None)

    def info(self) -> StoreInfo:
        """Counts, sizes and methods."""
        with self._open():
            methods = {}
            for name, (fingerprint, spec) in sorted(self._methods.items()):
                matching = self._images_with(name)
                size = sum(stored_bytes(image.features[name]) for image in matching)
                methods[name] = MethodInfo(fingerprint, spec, len(matching), size)
            return StoreInfo("memory", 0, len(self._images), len(self._failures), methods, 0)

    def derived(self, name: str) -> DerivedData | None:
        """Derived data by name, with their version; ``None`` if there are none."""
        with self._open():
            return self._derived.read(name)

    def put_derived(self, name: str, data: bytes, *, replaces: str | None = None) -> str | None:
        """Store derived data under a name; ``None`` if ``replaces`` is not the stored version."""
        with self._open():
            return self._derived.write(name, data, replaces)

    def lease(self, name: str, seconds: float) -> Lease | None:
        """Obtain the lease of a name; ``None`` while another thread holds it."""
        with self._open():
            return self._derived.lease(name, seconds)

    def check(
        self,
        *,
        repair: bool = False,
        sound_thumbnail: Callable[[bytes], bool] = bool,
        sound_derived: Callable[[str, bytes], bool] = lambda _name, _data: True,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> list[Damage]:
        """Check thumbnails and derived data; nothing else in memory can be damaged."""
        found = []
        with self._open():
            for image_id, image in self._images.items():
                if image.thumbnail and not sound_thumbnail(image.thumbnail):
                    if repair:
                        image.thumbnail, image.thumbnail_features = b"", None
                    found.append(Damage("thumbnail", f"the thumbnail of image {image_id!r} is damaged", image_id))
            for name, data in list(self._derived.data.items()):
                if not sound_derived(name, data):
                    if repair:
                        del self._derived.data[name]
                    found.append(Damage("derived", f"the derived data {name!r} are damaged"))
            progress(len(self._images), len(self._images))
        return [replace(damage, repaired="dropped" if repair else "") for damage in found]

    def close(self) -> None:
        """Release all resources; repeated calls are allowed."""
        with self._lock:
            self._closed = True
            self._images.clear()

    def _open(self) -> threading.RLock:
        if self._closed:
            raise StoreError("this collection has been closed")
        return self._lock

    def _image(self, image_id: str) -> _Image:
        if image_id not in self._images:
            raise UnknownImageError(image_id)
        return self._images[image_id]

    def _add_features(self, image: _Image, features: Mapping[str, Features]) -> None:
        for method, own in read_only(features).items():
            image.features[method], image.keys[method] = own, self._feed.add()

    def _drop_features(self, image: _Image, methods: Sequence[str]) -> None:
        for method in methods:
            if image.features.pop(method, None) is not None:
                self._feed.remove(method, image.keys.pop(method))

    def _spec(self, method: str) -> FeatureSpec:
        if method not in self._methods:
            raise MethodNotIndexedError(method, self._methods)
        return self._methods[method][1]

    def _images_with(self, method: str) -> list[_Image]:
        return [image for image in self._images.values() if method in image.features]

    def _specs(self) -> dict[str, FeatureSpec]:
        return {name: spec for name, (_, spec) in self._methods.items()}
