"""Reading and decoding of query images and stored images."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from imagefinder.core.addresses import is_web_address
from imagefinder.core.colours import Colours
from imagefinder.core.contracts import Store
from imagefinder.core.errors import (
    EmptyImageError,
    ImageError,
    InputError,
    NotAnImageError,
    SourceError,
    UnknownImageError,
)
from imagefinder.core.features import Decoded, RgbImage
from imagefinder.core.pages import page_of, split_page
from imagefinder.core.query import ImageInput, Query
from imagefinder.core.results import Box, Size
from imagefinder.core.settings import Settings
from imagefinder.images.decoding.decode import THUMBNAIL_BYTES, THUMBNAIL_PIXELS, decode_thumbnail
from imagefinder.indexing.source_item import check_size, local_path, read_file
from imagefinder.indexing.unicode_paths import existing_path
from imagefinder.runtime import Runtime
from imagefinder.search.candidates import read_thumbnail
from imagefinder.search.encoding import QueryImage, query_image
from imagefinder.search.heat import Source
from imagefinder.search.trace import Trace


@contextlib.contextmanager
def _naming(image: ImageInput) -> Iterator[None]:
    """Put the path or URL of an image before the message of an error; callers that pass bytes know the name."""
    try:
        yield
    except ImageError as error:
        if isinstance(image, str | os.PathLike):
            error.message = f"{os.fspath(image)}: {error.message}"
            error.args = (error.message,)
        raise


def _is_local(image: str | os.PathLike[str]) -> bool:
    return not (isinstance(image, str) and is_web_address(image)) and isinstance(image, str | os.PathLike)


class ImageReader:
    """Reads images for one store, within the limits of the settings."""

    def __init__(
        self, store: Store, runtime: Runtime, settings: Settings, colours: Callable[[], Colours] = lambda: "srgb"
    ) -> None:
        """Create a reader; ``colours`` returns the way in which the colours of images are read."""
        self._store = store
        self._colours = colours
        self._runtime = runtime
        self._settings = settings

    def resolve(self, image_id: str) -> str:
        """The stored id for the name of an image: itself, or the only id that differs in Unicode normalisation."""
        if image_id.isascii():
            return image_id
        found = self._store.equivalents(image_id)
        return image_id if image_id in found or len(found) != 1 else found[0]

    def decode(self, data: bytes) -> Decoded:
        """The upright pixels of an encoded image.

        Raises:
            ImageError: the image cannot be used.
        """
        limits = self._settings
        return self._runtime.decoder.decode(
            data,
            max_bytes=limits.max_image_bytes,
            max_pixels=limits.max_image_pixels,
            colours=self._colours(),
        )

    def _decode_local(self, data: bytes, page: int) -> Decoded:
        """The upright pixels of a local file, reduced if it is larger than other images may be."""
        limits = self._settings
        return self._runtime.decoder.decode(
            data,
            max_bytes=limits.max_local_bytes,
            max_pixels=max(limits.max_local_pixels, limits.max_image_pixels),
            page=page,
            fit_in=limits.max_image_pixels,
            colours=self._colours(),
        )

    def is_thumbnail(self, data: bytes) -> bool:
        """Whether these bytes are a readable thumbnail."""
        try:
            self._runtime.decoder.decode(data, max_bytes=THUMBNAIL_BYTES, max_pixels=THUMBNAIL_PIXELS)
        except ImageError:
            return False
        return True

    def read(self, image: str | os.PathLike[str]) -> bytes:
        """The encoded bytes behind a path or URL.

        Raises:
            SourceError: the file cannot be read.
            FetchError: the URL cannot be downloaded.
        """
        if isinstance(image, str) and is_web_address(image):
            return self._runtime.fetcher.fetch(image)
        if not isinstance(image, str | os.PathLike):
            raise NotAnImageError(f"an image is a path, a URL, bytes or an array, not {type(image).__name__}")
        return self._read_local(image)[0]

    def _read_local(self, image: str | os.PathLike[str]) -> tuple[bytes, int]:
        """The bytes of a file, and the page that the end of its name selects, unless a file has that name."""
        page = self._page(image)
        path = os.fspath(image) if page == 1 else split_page(os.fspath(image))[0]
        try:
            path = existing_path(path)
            with Path(path).open("rb") as file:
                status = os.fstat(file.fileno())
                if stat.S_ISREG(status.st_mode):
                    check_size(path, status.st_size, self._settings.max_local_bytes)
                # One byte over the limit is enough for the decoder to report a pipe as too large.
                return file.read(self._settings.max_local_bytes + 1), page
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise SourceError(f"cannot read the image {os.fspath(image)!r}: {reason}") from error

    def pixels(self, image: ImageInput) -> RgbImage:
        """The pixels of an image: upright ``(H, W, 3)`` uint8 RGB.

        Raises:
            InputError: the image cannot be used.
        """
        if isinstance(image, np.ndarray):
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise NotAnImageError(
                    f"an array must be (height, width, 3) uint8 RGB, not {image.shape} {image.dtype}"
                )
            if image.size == 0:
                raise EmptyImageError(f"the image has no pixels ({image.shape[1]} x {image.shape[0]})")
            return np.ascontiguousarray(image)
        if isinstance(image, bytes):
            return self.decode(image).rgb
        return self._file_or_url(image)[1].rgb

    def _file_or_url(self, image: str | os.PathLike[str]) -> tuple[bytes, Decoded]:
        """The bytes behind a path or URL, and the decoded image."""
        if _is_local(image):
            data, page = self._read_local(image)
            return data, self._decode_local(data, page)
        data = self.read(image)
        return data, self.decode(data)

    def _page(self, image: str | os.PathLike[str]) -> int:
        return 1 if os.path.lexists(image) else page_of(os.fspath(image))

    def query(self, query: Query) -> tuple[Query, QueryImage]:
        """Read the image of a query; in the returned query, its bytes replace the path or URL.

        Raises:
            InputError: the image cannot be used, a box lies outside it, or its file is needed and missing.
            UnknownImageError: no image has this id.
        """
        if query.image is not None:
            return self._given(query.image, query.boxes)
        image_id = self.resolve(query.id or "")
        record = self._store.get(image_id)
        query = Query(id=image_id, boxes=query.boxes)
        size = record.width, record.height
        if not query.boxes:
            thumbnail = read_thumbnail(self._store, image_id)
            pixels = decode_thumbnail(thumbnail)
            return query, QueryImage(
                pixels,
                size,
                size,
                id=image_id,
                sha256=record.sha256,
                version=record.version,
                thumbnail=thumbnail,
            )
        pixels, _ = self.stored(image_id)
        if (pixels.shape[1], pixels.shape[0]) != size:
            raise InputError(
                f"cannot search with a region of {image_id!r}: its file is missing or has changed",
                hint="search with the image itself",
            )
        region = query_image(pixels, query.boxes)
        return query, replace(region, id=image_id, version=record.version)

    def _given(self, image: ImageInput, boxes: tuple[Box, ...]) -> tuple[Query, QueryImage]:
        """Read an image that is not stored."""
        if isinstance(image, np.ndarray):
            # A copy: the caller may change the array while the query is kept for explanations.
            pixels = self.pixels(image).copy()
            return Query(pixels, boxes=boxes), query_image(pixels, boxes)
        with _naming(image):
            data, decoded = (image, self.decode(image)) if isinstance(image, bytes) else self._file_or_url(image)
        rgb, sha256 = decoded.rgb, hashlib.sha256(data).hexdigest()
        x, y = rgb.shape[1] / decoded.width, rgb.shape[0] / decoded.height
        if (x, y) != (1.0, 1.0):
            boxes = tuple((left * x, top * y, width * x, height * y) for left, top, width, height in boxes)
        page = 1 if isinstance(image, bytes) or not _is_local(image) else self._page(image)
        # Bytes can be decoded again within the limits of other images; a page, or a large file, cannot.
        again = page == 1 and len(data) <= self._settings.max_image_bytes and (x, y) == (1.0, 1.0)
        return Query(data if again else rgb, boxes=boxes), query_image(
            rgb, boxes, sha256=sha256 if page == 1 else ""
        )

    def whole(self, query: Query) -> tuple[RgbImage, Size]:
        """The pixels of a query image, and its size; for a stored image, these may be the pixels of its thumbnail.

        Raises:
            InputError: the image cannot be used.
            UnknownImageError: no image has this id.
        """
        if query.image is None:
            record = self._store.get(self.resolve(query.id or ""))
            return self.stored(record.id)[0], (record.width, record.height)
        pixels = self.pixels(query.image)
        return pixels, (pixels.shape[1], pixels.shape[0])

    def is_replaced(self, image: QueryImage) -> bool:
        """Whether a stored query image has been replaced or removed since the search."""
        if not image.id:
            return False
        try:
            return self._store.get(image.id).version != image.version
        except UnknownImageError:
            return True

    def for_heat(self, trace: Trace) -> QueryImage:
        """The query image for heat maps, a stored one from its unchanged file; without pixels if it is missing."""
        try:
            _, image = self.query(trace.query)
            whole = bool(image.id) and not image.boxes
            return replace(image, pixels=self.stored(image.id)[0]) if whole and image.pixels.size else image
        except (InputError, UnknownImageError):
            return trace.image

    def stored(self, image_id: str) -> tuple[RgbImage, Source]:
        """The pixels of a stored image and their source: its unchanged file, its thumbnail, or one grey pixel.

        Raises:
            UnknownImageError: no image has this id.
        """
        image_id = self.resolve(image_id)
        record = self._store.get(image_id)
        path = local_path(record.uri) if record.uri.startswith("file:") else None
        data = b""
        if path is not None:
            with contextlib.suppress(InputError):
                data = read_file(path, self._settings.max_local_bytes)
        source: Source = "file"
        if hashlib.sha256(data).hexdigest() != record.sha256:
            data, source = self._store.thumbnail(image_id), "thumbnail"
        if not data:
            return np.full((1, 1, 3), 128, dtype=np.uint8), ""
        if source == "file":
            return self._decode_local(data, page_of(record.uri)).rgb, source
        return self.decode(data).rgb, source

    def in_full(self, image_id: str) -> RgbImage | None:
        """The pixels of a stored image from its unchanged file; ``None`` if that cannot be read."""
        try:
            pixels, source = self.stored(image_id)
        except (ImageError, UnknownImageError):
            return None
        return pixels if source == "file" else None
