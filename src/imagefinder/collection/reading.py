"""Reading from a collection: images, records, methods."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from imagefinder.collection.images import ImageReader
from imagefinder.collection.methods import CollectionMethods
from imagefinder.collection.originals import open_original
from imagefinder.collection.previews import PreviewMaker
from imagefinder.core import filters
from imagefinder.core.contracts import Store
from imagefinder.core.errors import InputError, MethodNotIndexedError
from imagefinder.core.features import Decoded, RgbImage
from imagefinder.core.listing import BY_ID, EVERYTHING, Group, GroupBy, ListPosition, Order, Selection
from imagefinder.core.method import Method, MethodState
from imagefinder.core.previews import DEFAULT_SIZE, Preview
from imagefinder.core.query import ImageInput
from imagefinder.core.records import Failure, ImageRecord, ImageStatus, Removal, StoreInfo
from imagefinder.core.results import AUTO, Label
from imagefinder.core.settings import Settings
from imagefinder.indexing.missing import gone_uris
from imagefinder.runtime import Runtime
from imagefinder.search.words import labels


class CollectionReader:
    """The reading methods of a ``Collection``.

    Attributes:
        previews: Renders previews in two steps, for callers that download and cache.
    """

    def __init__(self, store: Store, runtime: Runtime, settings: Settings | None = None) -> None:
        """Create a reader; ``settings`` default to those of the runtime."""
        self.settings = settings or runtime.settings
        self.store = store
        self.runtime = runtime
        self._methods = CollectionMethods(store, runtime)
        self._images = ImageReader(store, runtime, self.settings, self._methods.colours)
        self.previews = PreviewMaker(store, runtime, self.settings)

    def read(self, image: str | os.PathLike[str]) -> bytes:
        """Read or download the encoded image behind a path or URL.

        Raises:
            SourceError: the file cannot be read.
            FetchError: the URL cannot be downloaded.
        """
        return self._images.read(image)

    def decode(self, data: bytes) -> Decoded:
        """Decode an image to upright pixels, within the limits of the settings.

        Raises:
            ImageError: the image cannot be used.
        """
        return self._images.decode(data)

    def pixels(self, image: ImageInput) -> RgbImage:
        """The pixels of an image: upright ``(H, W, 3)`` uint8 RGB.

        Raises:
            InputError: the image cannot be used.
        """
        return self._images.pixels(image)

    def stored_pixels(self, image_id: str) -> RgbImage:
        """The pixels of a stored image, from its unchanged file, else its thumbnail, else one grey pixel.

        Raises:
            UnknownImageError: no image has this id.
        """
        return self._images.stored(image_id)[0]

    def original(self, image_id: str) -> BinaryIO | None:
        """The open file of an image, or its kept original; ``None`` without either, or if the file has changed.

        Raises:
            UnknownImageError: no image has this id.
        """
        return open_original(self.store, self.resolve(image_id))

    def preview(self, image_id: str, size: int = DEFAULT_SIZE) -> Preview:
        """A preview of a stored image: a JPEG in sRGB, upright, without metadata.

        It is rendered from the unchanged file, archive member or web address that the image came from, or from
        what the collection keeps of an uploaded image. If none of them can be used, it is the thumbnail.

        Args:
            image_id: Id of the image.
            size: Length of the longer side in pixels; the next of ``previews.SIZES`` is used, and images are not
                enlarged.

        Raises:
            UnknownImageError: no image has this id.
        """
        plan, data = self.previews.plan(self.resolve(image_id), size), None
        if plan.url:
            try:
                data = self.runtime.fetcher.fetch(plan.url)
            except InputError as error:
                plan = self.previews.without_source(plan, error.code)
        return self.previews.render(plan, data)

    def get(self, image_id: str) -> ImageRecord:
        """The record of an image.

        Raises:
            UnknownImageError: no image has this id.
        """
        return self.store.get(self.resolve(image_id))

    def records(self, ids: Sequence[str]) -> dict[str, ImageRecord]:
        """The records of many images, by stored id; unknown ids are left out."""
        return self.store.records(ids)

    def versions(self, stacks: Sequence[str]) -> dict[str, int]:
        """Stack (``FileMetadata.stack``) -> number of its images."""
        return {stack: len(ids) for stack, ids in self.store.stacked(stacks).items()}

    def resolve(self, image_id: str) -> str:
        """The stored id for the name of an image: itself, or the only id that differs in Unicode normalisation.

        macOS writes file names decomposed (NFD), people type them composed (NFC). An unknown name is returned
        unchanged.
        """
        return self._images.resolve(image_id)

    def missing(self, ids: Sequence[str]) -> frozenset[str]:
        """The images among these whose file no longer exists; takes at most half a second."""
        uris = {image_id: stored.uri for image_id, stored in self.store.status(ids).items()}
        gone = gone_uris(uris.values())
        return frozenset(image_id for image_id, uri in uris.items() if uri in gone)

    def removals(self, *, after: str = "", limit: int | None = None) -> list[Removal]:
        """The images that were removed and that ``add`` skips, ordered by id.

        Args:
            after: The last id of the previous page; empty for the first page.
            limit: Number of removals; a page is longer if more removals have its last id. ``None``: no limit.
        """
        return self.store.removals(after=after, limit=limit)

    def status(self, ids: Sequence[str]) -> Mapping[str, ImageStatus]:
        """Id -> stored state of the image; unknown ids are left out."""
        return self.store.status(ids)

    def thumbnail(self, image_id: str) -> bytes:
        """The thumbnail of an image, a JPEG of at most 256 x 256 pixels; empty if it has none.

        Raises:
            UnknownImageError: no image has this id.
        """
        return self.store.thumbnail(self.resolve(image_id))

    def images(
        self, *, after: str = "", limit: int = 100, where: Mapping[str, Any] | None = None, contains: str = ""
    ) -> list[ImageRecord]:
        """A page of records, ordered by id.

        Args:
            after: The last id of the previous page; empty for the first page.
            limit: Maximum number of records.
            where: Only images whose metadata match this filter (``core.filters``).
            contains: Only images with this text in their id or metadata.

        Raises:
            InputError: the filter is not valid.
        """
        return self.store.images(after=after, limit=limit, where=self._filter(where), contains=contains)

    def _filter(self, where: Mapping[str, Any] | None) -> filters.Filter | None:
        """The filter; conditions on places need the setting ``places``."""
        return filters.parse_optional(where, places=self.settings.places)

    def _check_places(self, *, shown: bool) -> None:
        if shown and not self.settings.places:
            raise filters.places_not_shown("listings by place")

    def listing(
        self,
        selection: Selection = EVERYTHING,
        order: Order = BY_ID,
        *,
        after: ListPosition | None = None,
        offset: int = 0,
        limit: int = 100,
    ) -> list[ImageRecord]:
        """A page of records, sorted.

        Args:
            selection: Which images to list.
            order: The order of the listing.
            after: The position of the last image of the previous page (``order.position``); ``None`` for the
                first page.
            offset: Number of images to skip from there.
            limit: Maximum number of records.

        Raises:
            FilterError: the selection is by place, without the setting ``places``.
        """
        self._check_places(shown=bool(selection.places))
        return self.store.listing(selection, order, after=after, offset=offset, limit=limit)

    def groups(
        self,
        by: GroupBy,
        selection: Selection = EVERYTHING,
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[Group]:
        """The groups of images and their sizes, ordered by value.

        Args:
            by: What images are grouped by.
            selection: Which images to group.
            after: The value of the last group of the previous page; ``None`` for the first page.
            limit: Maximum number of groups; ``None``: no limit.

        Raises:
            FilterError: groups or selection are by place, without the setting ``places``.
        """
        self._check_places(shown=by == "place" or bool(selection.places))
        return self.store.groups(by, selection, after=after, limit=limit)

    def failures(self, *, after: str = "", limit: int | None = None) -> list[Failure]:
        """A page of the images that could not be indexed, ordered by id, with the reasons.

        Args:
            after: The last id of the previous page; empty for the first page.
            limit: Maximum number of failures; ``None``: no limit.
        """
        return self.store.failures(after=after, limit=limit)

    def is_in_place(self) -> bool:
        """Whether the files are still those that were opened; otherwise every call raises."""
        return self.store.is_in_place()

    def info(self) -> StoreInfo:
        """Number of images and failures, size on disk, and the methods."""
        return self.store.info()

    # -- methods -------------------------------------------------------------------------------------------

    def method(self, name: str) -> Method:
        """The method with this name.

        Raises:
            UnknownMethodError: no method has this name.
        """
        return self._methods.method(name)

    def methods(self) -> list[MethodState]:
        """Every installed method, and whether it can run on this machine; sorted by name."""
        return self.runtime.method_states()

    def labels(self, image_id: str) -> tuple[Label, ...]:
        """What an image may show, by the classifier of a network: suggestions, most likely first.

        Empty if no label is likely, or the image has no features of a method with a classifier.

        Raises:
            UnknownImageError: no image has this id.
            FingerprintMismatchError: the stored features were made with other parameters or weights.
            ModelMissingError: the weights of the method are not on this machine.
        """
        found = self.store.get(self.resolve(image_id)).id
        try:
            return labels(self.store, self._methods.to_search_words(AUTO), found)
        except (MethodNotIndexedError, InputError):
            self.store.get(found)  # raises UnknownImageError if it was removed meanwhile
            return ()

    def warm(self, method: str) -> None:
        """Load the model and stored features of a method, so that the first search is fast.

        Raises:
            UnknownMethodError: no method has this name.
            ModelMissingError: the method's weights are not on this machine.
        """
        self.runtime.decoder.start()
        self.method(method).extractor.extract([np.zeros((64, 64, 3), dtype=np.uint8)])
        _ = self.runtime.thumbnail_method
        if method in self.store.info().methods:
            for _ in self.store.scan(method):
                pass
