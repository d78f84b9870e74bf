"""A store that is gone with the process: for trials, tests, and as the model of what every store does."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import MethodNotIndexedError, StoreError, UnknownImageError
from imagefinder.core.features import Features, FeatureSpec, GlobalFeatures, LocalFeatures, concatenate
from imagefinder.core.filters import Filter, contains_text
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import (
    Changes,
    Damage,
    Entry,
    Failure,
    GalleryBlock,
    ImageRecord,
    ImageStatus,
    MethodInfo,
    StoreInfo,
)
from imagefinder.stores import checks

_BLOCK_BYTES = 32 << 20

_Array = TypeVar("_Array", bound=np.ndarray[Any, Any])


@dataclass(slots=True)
class _Image:
    record: ImageRecord
    thumbnail: bytes
    features: dict[str, Features] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)


class MemoryStore:
    """Keeps everything in dictionaries; arrays are copied as they come in."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._images: dict[str, _Image] = {}
        self._methods: dict[str, tuple[Fingerprint, FeatureSpec]] = {}
        self._failures: dict[str, Failure] = {}
        self._kept: dict[str, bytes] = {}
        self._closed = False
        self._last_key = 0
        self._revisions: dict[str, int] = {}

    def register(self, fingerprint: Fingerprint, spec: FeatureSpec) -> None:
        """See ``Store``."""
        checks.text("method name", fingerprint.method)
        name = fingerprint.method
        with self._open():
            if name in self._methods and self._images_with(name):
                error = checks.mismatch(*self._methods[name], fingerprint, spec)
                if error:
                    raise error
            self._methods[name] = (Fingerprint.from_json(fingerprint.to_json()), spec)

    def unregister(self, method: str) -> None:
        """See ``Store``."""
        with self._open():
            self._methods.pop(method, None)
            for image in self._images.values():
                self._forget(image, [method])

    def put(self, entries: Sequence[Entry]) -> None:
        """See ``Store``."""
        plain = checks.plain_entries(entries)
        with self._open():
            for entry in plain:
                checks.check_registered(entry.features, self._specs())
            for entry in plain:
                image_id = entry.image.id
                if image_id in self._images:
                    self._forget(self._images[image_id], list(self._images[image_id].features))
                image = _Image(replace(entry.image, added_at=time.time()), entry.thumbnail)
                self._keep(image, entry.features)
                self._images[image_id] = image
                self._failures.pop(image_id, None)

    def put_features(self, image_id: str, features: Mapping[str, Features]) -> None:
        """See ``Store``."""
        checks.check_one_image(image_id, features)
        with self._open():
            checks.check_registered(features, self._specs())
            image = self._image(image_id)
            self._forget(image, list(features))
            self._keep(image, features)

    def touch(self, image_id: str, *, uri: str, stamp: str) -> None:
        """See ``Store``."""
        checks.text("uri", uri)
        checks.text("stamp", stamp)
        with self._open():
            image = self._images.get(image_id)
            if image:
                image.record = replace(image.record, uri=uri, stamp=stamp)

    def delete(self, ids: Sequence[str]) -> int:
        """See ``Store``."""
        wanted = checks.ids_of(ids)
        with self._open():
            there = [self._images.pop(image_id) for image_id in wanted if image_id in self._images]
            for image in there:
                self._forget(image, list(image.features))
            return len(there)

    def get(self, image_id: str) -> ImageRecord:
        """See ``Store``."""
        with self._open():
            return checks.plain_image(self._image(image_id).record)  # a caller may change its metadata

    def thumbnail(self, image_id: str) -> bytes:
        """See ``Store``."""
        with self._open():
            return self._image(image_id).thumbnail

    def features(self, image_id: str, method: str) -> Features:
        """See ``Store``."""
        with self._open():
            features = self._image(image_id).features
            if method not in features:
                raise MethodNotIndexedError(method, features, image_id)
            return features[method]

    def status(self, ids: Sequence[str]) -> dict[str, ImageStatus]:
        """See ``Store``."""
        wanted = checks.ids_of(ids)
        with self._open():
            return {
                image_id: ImageStatus(
                    image.record.sha256, image.record.stamp, image.record.uri, frozenset(image.features)
                )
                for image_id in wanted
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
        """See ``Store``."""
        checks.text("id to begin behind", after)
        with self._open():
            page = sorted(
                image_id
                for image_id, image in self._images.items()
                if image_id > after
                and source in (None, image.record.source)
                and (where is None or where.matches(image.record.metadata))
                and (not contains or contains_text(contains, image_id, image.record.metadata))
            )
            return [checks.plain_image(self._images[image_id].record) for image_id in page[: max(limit, 0)]]

    def scan(self, method: str) -> Iterator[GalleryBlock]:
        """See ``Store``."""
        with self._open():
            spec = self._spec(method)
            held = [(i, image.features[method]) for i, image in self._images.items() if method in image.features]
        return _blocks(spec, held)

    def select(self, method: str, ids: Sequence[str]) -> GalleryBlock:
        """See ``Store``."""
        wanted = checks.ids_of(ids)
        with self._open():
            spec = self._spec(method)
            found = {
                image_id: image.features[method]
                for image_id in wanted
                if (image := self._images.get(image_id)) and method in image.features
            }
        return GalleryBlock(tuple(found), concatenate(spec, list(found.values())))

    def changes(self, method: str, *, revision: int, last: int, count: int) -> Changes | None:
        """See ``Store``."""
        with self._open():
            held = sorted(
                (image.keys[method], _stored_bytes(image.features[method])) for image in self._images_with(method)
            )
            now = self._revisions.get(method, 0)
        if now == revision or (revision == -1 and not held and not count):
            return None
        pairs = np.array(held, dtype=np.int64).reshape(-1, 2)
        new = pairs[pairs[:, 0] > last]
        gone = len(pairs) - len(new) != count
        return Changes(now, new[:, 0].copy(), new[:, 1].copy(), pairs[:, 0].copy() if gone else None)

    def load(self, method: str, keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], GalleryBlock]:
        """See ``Store``."""
        wanted = set(keys.tolist())
        with self._open():
            spec = self._spec(method)
            held = sorted(
                (image.keys[method], image_id)
                for image_id, image in self._images.items()
                if image.keys.get(method) in wanted
            )
            parts = [self._images[image_id].features[method] for _, image_id in held]
        there = np.array([key for key, _ in held], dtype=np.int64)
        return there, GalleryBlock(tuple(image_id for _, image_id in held), concatenate(spec, parts))

    def checksums(self, method: str, keys: NDArray[np.int64]) -> dict[int, int]:
        """See ``Store``."""
        there, block = self.load(method, keys)
        return {
            key: _checksum(image_id, block.features.image(number))
            for number, (key, image_id) in enumerate(zip(there.tolist(), block.ids, strict=True))
        }

    def record_failures(self, failures: Sequence[Failure]) -> None:
        """See ``Store``."""
        plain = checks.plain_failures(failures)
        with self._open():
            for failure in plain:
                before = self._failures.get(failure.id)
                attempts = before.attempts + 1 if before else 1
                self._failures[failure.id] = replace(failure, attempts=attempts, at=time.time())

    def failures(self, *, after: str = "", limit: int | None = None) -> list[Failure]:
        """See ``Store``."""
        checks.text("id to begin behind", after)
        with self._open():
            page = sorted((one for one in self._failures.values() if one.id > after), key=lambda one: one.id)
        return page if limit is None else page[: max(limit, 0)]

    def forget_failures(self, ids: Sequence[str]) -> None:
        """See ``Store``."""
        wanted = checks.ids_of(ids)
        with self._open():
            for image_id in wanted:
                self._failures.pop(image_id, None)

    def info(self) -> StoreInfo:
        """See ``Store``."""
        with self._open():
            methods = {}
            for name, (fingerprint, spec) in sorted(self._methods.items()):
                held = self._images_with(name)
                size = sum(_stored_bytes(image.features[name]) for image in held)
                methods[name] = MethodInfo(fingerprint, spec, len(held), size)
            return StoreInfo("memory", 0, len(self._images), len(self._failures), methods, 0)

    def derived(self, name: str) -> bytes | None:
        """See ``Store``."""
        with self._open():
            return self._kept.get(checks.derived_name(name))

    def put_derived(self, name: str, data: bytes) -> None:
        """See ``Store``."""
        with self._open():
            self._kept[checks.derived_name(name)] = bytes(data)

    def check(
        self,
        *,
        repair: bool = False,
        sound_thumbnail: Callable[[bytes], bool] = bool,
        sound_derived: Callable[[str, bytes], bool] = lambda _name, _data: True,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> list[Damage]:
        """See ``Store``. Memory is not on a disk: only what was handed in can be of no use."""
        found = []
        with self._open():
            for image_id, image in self._images.items():
                if image.thumbnail and not sound_thumbnail(image.thumbnail):
                    image.thumbnail = b"" if repair else image.thumbnail
                    found.append(Damage("thumbnail", f"the thumbnail of image {image_id!r} is damaged", image_id))
            for name, data in list(self._kept.items()):
                if not sound_derived(name, data):
                    if repair:
                        del self._kept[name]
                    found.append(Damage("derived", f"{name} cannot be used"))
            progress(len(self._images), len(self._images))
        return [replace(damage, repaired="it was dropped" if repair else "") for damage in found]

    def backup(self, destination: Path, progress: Callable[[int, int], None] = lambda _done, _total: None) -> None:
        """See ``Store``.

        Raises:
            StoreError: always; it is gone with the process, and so would be its promise.
        """
        del progress
        raise StoreError(
            f"a collection in memory cannot be backed up to {destination}",
            hint="keep it on disk: the setting store is embedded",
        )

    def derived_folder(self) -> Path | None:
        """See ``Store``."""
        return None

    def close(self) -> None:
        """See ``Store``."""
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

    def _keep(self, image: _Image, features: Mapping[str, Features]) -> None:
        for method, own in _own(features).items():
            self._last_key += 1
            image.features[method], image.keys[method] = own, self._last_key
            self._revisions[method] = self._revisions.get(method, 0) + 1

    def _forget(self, image: _Image, methods: Sequence[str]) -> None:
        for method in methods:
            if image.features.pop(method, None) is not None:
                del image.keys[method]
                self._revisions[method] = self._revisions.get(method, 0) + 1

    def _spec(self, method: str) -> FeatureSpec:
        if method not in self._methods:
            raise MethodNotIndexedError(method, self._methods)
        return self._methods[method][1]

    def _images_with(self, method: str) -> list[_Image]:
        return [image for image in self._images.values() if method in image.features]

    def _specs(self) -> dict[str, FeatureSpec]:
        return {name: spec for name, (_, spec) in self._methods.items()}


def _blocks(spec: FeatureSpec, held: list[tuple[str, Features]]) -> Iterator[GalleryBlock]:
    ids: list[str] = []
    parts: list[Features] = []
    size = 0
    for image_id, features in held:
        ids.append(image_id)
        parts.append(features)
        size += features.nbytes
        if size >= _BLOCK_BYTES:
            yield GalleryBlock(tuple(ids), concatenate(spec, parts))
            ids, parts, size = [], [], 0
    if ids:
        yield GalleryBlock(tuple(ids), concatenate(spec, parts))


def _own(features: Mapping[str, Features]) -> dict[str, Features]:
    """Copies that nobody can change."""
    own: dict[str, Features] = {}
    for method, batch in features.items():
        if isinstance(batch, GlobalFeatures):
            own[method] = GlobalFeatures(_frozen(batch.vectors))
        else:
            own[method] = LocalFeatures(
                _frozen(batch.descriptors), _frozen(batch.keypoints), _frozen(batch.offsets)
            )
    return own


def _frozen(array: _Array) -> _Array:
    copy = array.copy(order="C")
    copy.flags.writeable = False
    return copy


def _stored_bytes(features: Features) -> int:
    if isinstance(features, GlobalFeatures):
        return features.nbytes
    return features.descriptors.nbytes + features.keypoints.nbytes


def _checksum(image_id: str, features: Features) -> int:
    arrays = (
        (features.vectors,) if isinstance(features, GlobalFeatures) else (features.descriptors, features.keypoints)
    )
    value = zlib.crc32(image_id.encode())
    for array in arrays:
        value = zlib.crc32(np.ascontiguousarray(array).tobytes(), value)
    return value
