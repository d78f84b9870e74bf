"""The reading half of a collection: images, records, methods."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Set
from typing import Any, BinaryIO

import numpy as np

from imagefinder.collection.images import ImageReader
from imagefinder.collection.methods import CollectionMethods
from imagefinder.core import filters
from imagefinder.core.contracts import Store
from imagefinder.core.features import Decoded, RgbImage
from imagefinder.core.method import Method, MethodState
from imagefinder.core.paging import iter_images
from imagefinder.core.query import ImageInput
from imagefinder.core.records import Failure, ImageRecord, ImageStatus, StoreInfo
from imagefinder.core.settings import Settings
from imagefinder.runtime import Runtime


class CollectionReader:
    """Reads what a collection holds; see ``Collection``."""

    def __init__(self, store: Store, runtime: Runtime, settings: Settings | None = None) -> None:
        """Join a store with the runtime; ``settings`` are those of the runtime by default."""
        self.settings = settings or runtime.settings
        self.store = store
        self.runtime = runtime
        self._methods = CollectionMethods(store, runtime)
        self._images = ImageReader(store, runtime, self.settings)

    def read(self, image: str | os.PathLike[str]) -> bytes:
        """The encoded bytes behind a path or URL: to use several times what is read, or downloaded, once.

        Raises:
            SourceError: it cannot be read.
            FetchError: it cannot be downloaded.
        """
        return self._images.read(image)

    def decode(self, data: bytes) -> Decoded:
        """The pixels of an encoded image, upright, within the limits of the settings.

        Raises:
            ImageError: the image cannot be used.
        """
        return self._images.decode(data)

    def pixels(self, image: ImageInput) -> RgbImage:
        """An image as it is compared: upright ``(H, W, 3)`` uint8 RGB.

        Raises:
            InputError: the image cannot be used.
        """
        return self._images.pixels(image)

    def stored_pixels(self, image_id: str) -> RgbImage:
        """A stored image from its unchanged file, else its thumbnail, else one grey pixel.

        Raises:
            UnknownImageError: no image of that id.
        """
        return self._images.stored(image_id)[0]

    def original(self, image_id: str) -> BinaryIO | None:
        """The file behind an image, open at its beginning; ``None`` if it has none, or that has changed.

        Raises:
            UnknownImageError: no image of that id.
        """
        return self._images.original(image_id)

    def get(self, image_id: str) -> ImageRecord:
        """The record of an image.

        Raises:
            UnknownImageError: no image of that id.
        """
        return self.store.get(image_id)

    def status(self, ids: Sequence[str]) -> Mapping[str, ImageStatus]:
        """What is stored of images: id -> status; ids that are not in the collection are left out."""
        return self.store.status(ids)

    def thumbnail(self, image_id: str) -> bytes:
        """JPEG of at most 256 pixels a side; empty if there is none.

        Raises:
            UnknownImageError: no image of that id.
        """
        return self.store.thumbnail(image_id)

    def images(
        self, *, after: str = "", limit: int = 100, where: Mapping[str, Any] | None = None, contains: str = ""
    ) -> list[ImageRecord]:
        """A page of records ordered by id.

        Args:
            after: The last id of the previous page; empty for the first page.
            limit: Number of records, at most.
            where: Only images whose metadata match this filter (``core.filters``).
            contains: Only images with this text in their id or in a text of their metadata.

        Raises:
            InputError: not a valid filter.
        """
        chosen = None if where is None else filters.parse(where)
        return self.store.images(after=after, limit=limit, where=chosen, contains=contains)

    def failures(self, *, after: str = "", limit: int | None = None) -> list[Failure]:
        """The images that could not be indexed, and why, ordered by id; a page of them as in ``images``."""
        return self.store.failures(after=after, limit=limit)

    def info(self) -> StoreInfo:
        """Counts, methods and bytes."""
        return self.store.info()

    # -- methods -------------------------------------------------------------------------------------------

    def method(self, name: str) -> Method:
        """The method of a name.

        Raises:
            UnknownMethodError: no such method.
        """
        return self.runtime.method(name)

    def methods(self) -> list[MethodState]:
        """Every installed method, and whether it can run on this machine, in order of name."""
        return self.runtime.method_states()

    def warm(self, method: str) -> None:
        """Load what a search by this method needs (model, stored features), so that the first one is quick.

        Raises:
            UnknownMethodError: no such method.
            ModelMissingError: the method's weights are not on this machine.
        """
        self.runtime.decoder.start()
        self.method(method).extractor.extract([np.zeros((64, 64, 3), dtype=np.uint8)])
        _ = self.runtime.thumbnail_method
        if method in self.store.info().methods:
            for _ in self.store.scan(method):
                pass

    def _allowed(self, where: Mapping[str, Any] | None) -> Set[str] | None:
        """The ids of all images that match a filter; ``None`` without one."""
        if where is None:
            return None
        return {record.id for record in iter_images(self.store.images, where=filters.parse(where))}
