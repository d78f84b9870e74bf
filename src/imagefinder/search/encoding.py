"""Encoding of the query: the query image, and its features by each method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from imagefinder.core.contracts import Store
from imagefinder.core.errors import BoxError, FingerprintMismatchError, MethodNotIndexedError
from imagefinder.core.features import Features, GlobalFeatures, LocalFeatures, RgbImage, concatenate
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.method import Method
from imagefinder.core.query import check_box
from imagefinder.core.records import StoreInfo
from imagefinder.core.results import Box, Point, Size

NO_PIXELS: RgbImage = np.empty((0, 0, 3), dtype=np.uint8)
"""The pixels of a stored image without a thumbnail."""


@dataclass(frozen=True, slots=True, eq=False)
class QueryImage:
    """The query image, cropped to the bounding box of its boxes, if there are any.

    Attributes:
        pixels: ``(H, W, 3)`` uint8 RGB: the image or, for a stored image, its thumbnail (``NO_PIXELS`` if it has
            none).
        size: Width and height in the pixels that keypoints refer to.
        whole: Width and height of the image before cropping.
        id: Id of a stored image; empty for any other image.
        sha256: SHA-256 of the encoded image; empty if unknown, or if the image is cropped.
        version: ``ImageRecord.version`` of a stored image; empty for any other image.
        boxes: Regions of this image to search with; empty: the whole image.
        corner: Position of this image in the uncropped image.
        thumbnail: Encoded thumbnail of a stored image; empty for any other image.
    """

    pixels: RgbImage
    size: Size
    whole: Size
    id: str = ""
    sha256: str = ""
    version: str = ""
    boxes: tuple[Box, ...] = ()
    corner: Point = (0.0, 0.0)
    thumbnail: bytes = b""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedQuery:
    """The query image with its features by one method.

    Attributes:
        image: The query image.
        features: A batch of one image.
        fingerprint: Fingerprint of the features.
        indexed: Whether the store has features of the method.
        flipped: Whether the features are those of the mirror image (left to right).
    """

    image: QueryImage
    features: Features
    fingerprint: Fingerprint
    indexed: bool
    flipped: bool = False

    @property
    def size(self) -> Size:
        """Width and height in the pixels that keypoints refer to."""
        return self.image.size


def query_image(pixels: RgbImage, boxes: Sequence[Box] = (), *, sha256: str = "") -> QueryImage:
    """Create a query image, cropped to the bounding box of its boxes.

    Args:
        pixels: ``(H, W, 3)`` uint8 RGB, the whole image.
        boxes: Regions to search with; empty: the whole image.
        sha256: SHA-256 of the encoded image; empty if unknown.

    Raises:
        BoxError: a box is invalid or lies outside the image.
    """
    height, width = pixels.shape[:2]
    if not boxes:
        return QueryImage(pixels, (width, height), (width, height), sha256=sha256)
    cut = [_clip(box, width, height) for box in boxes]
    left, top = min(box[0] for box in cut), min(box[1] for box in cut)
    right, bottom = max(box[0] + box[2] for box in cut), max(box[1] + box[3] for box in cut)
    return QueryImage(
        np.ascontiguousarray(pixels[top:bottom, left:right]),
        (right - left, bottom - top),
        (width, height),
        boxes=tuple((float(x - left), float(y - top), float(w), float(h)) for x, y, w, h in cut),
        corner=(float(left), float(top)),
    )


def encode(store: Store, methods: Sequence[Method], image: QueryImage) -> list[EncodedQuery]:
    """Compute the features of a query image by each method, for comparison with those of a store.

    Args:
        store: The store of the gallery.
        methods: Extract from the query image; for a stored image, its stored features are used.
        image: The query image.

    Raises:
        UnknownImageError: no image has this id.
        MethodNotIndexedError: the store has images, but no features of a method.
        FingerprintMismatchError: stored features were made with other parameters or weights.
        ModelMissingError: the weights of a method are not on this machine.
    """
    info = store.info()
    return [_encode(store, info, method, image) for method in methods]


def _encode(store: Store, info: StoreInfo, method: Method, image: QueryImage) -> EncodedQuery:
    stored = info.methods.get(method.name)
    if stored is None and info.images:
        if not image.id:
            method.extractor.fingerprint()  # reports missing weights, if these are the cause
        raise MethodNotIndexedError(method.name, info.methods)
    if image.id:
        features = store.features(image.id, method.name)
        fingerprint = stored.fingerprint if stored else method.extractor.fingerprint()
        return EncodedQuery(image, features, fingerprint, stored is not None)
    fingerprint = method.extractor.fingerprint()
    if stored and stored.fingerprint != fingerprint:
        raise FingerprintMismatchError(
            f"the stored {method.name} features were made with other parameters or weights: "
            f"{stored.fingerprint.difference(fingerprint)} (stored vs. current)",
            hint="use the settings and weights they were made with, or add the images to a new collection",
        )
    return EncodedQuery(image, extract(method, image), fingerprint, stored is not None)


def extract(method: Method, image: QueryImage) -> Features:
    """Extract the features of an image, or of its boxes, as a batch of one.

    Local features of several boxes are concatenated. Global features are normalised to length 1 and summed: an
    image similar to all boxes is similar to their sum.
    """
    if len(image.boxes) < 2:
        return method.extractor.extract([image.pixels])
    parts = []
    for left, top, width, height in image.boxes:
        x, y, w, h = int(left), int(top), int(width), int(height)
        parts.append(np.ascontiguousarray(image.pixels[y : y + h, x : x + w]))
    batch = method.extractor.extract(parts)
    if isinstance(batch, GlobalFeatures):
        lengths = np.linalg.norm(batch.vectors, axis=1, keepdims=True)
        return GlobalFeatures(np.sum(batch.vectors / np.maximum(lengths, 1e-12), axis=0, keepdims=True))
    moved = []
    for number, (left, top, _, _) in enumerate(image.boxes):
        one = batch.image(number)
        keypoints = one.keypoints + np.array([left, top, 0, 0], dtype=np.float32)
        moved.append(LocalFeatures(one.descriptors, keypoints, one.offsets))
    joined = concatenate(batch.spec(), moved)
    assert isinstance(joined, LocalFeatures)  # noqa: S101 - narrows the type; the parts are local
    count = len(joined.descriptors)
    return LocalFeatures(joined.descriptors, joined.keypoints, np.array([0, count], dtype=np.int64))


def augment(method: Method, query: EncodedQuery, *, mirror: bool) -> list[EncodedQuery]:
    """The query and, with ``mirror`` and a method that can flip features, its mirror image."""
    if not mirror or method.mirror is None:
        return [query]
    flipped = method.mirror(query.features, query.size[0])
    return [query, replace(query, features=flipped, flipped=True)]


def _clip(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """The pixel rectangle that a box touches: left, top, width, height."""
    x, y, w, h = values = check_box(box)
    left, top = max(0, math.floor(x)), max(0, math.floor(y))
    right, bottom = min(width, math.ceil(x + w)), min(height, math.ceil(y + h))
    if left >= right or top >= bottom:
        named = ",".join(f"{value:g}" for value in values)
        raise BoxError(f"the box {named} lies outside the image of {width} x {height} pixels")
    return left, top, right - left, bottom - top
