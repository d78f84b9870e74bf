"""What is asked with, ready to be compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from imagefinder.core.contracts import Store
from imagefinder.core.errors import FingerprintMismatchError, InputError, MethodNotIndexedError
from imagefinder.core.features import Features, GlobalFeatures, LocalFeatures, RgbImage, concatenate
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.method import Method
from imagefinder.core.results import Box, Point, Size

MAX_BOXES = 16


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """The picture that is asked with, or the part of it that counts.

    Attributes:
        pixels: What can be seen of it: the whole or, of a stored image, its thumbnail.
        size: Width and height in pixels that places in the features refer to.
        id: Of the stored image that is asked with; empty for any other picture.
        sha256: Of the encoded picture; empty where it is not known, or a part of it is asked with.
        boxes: Within this picture; empty for the whole.
        corner: Where this picture lies in the one that was handed in.
        whole: Width and height of the one that was handed in.
    """

    pixels: RgbImage
    size: Size
    whole: Size
    id: str = ""
    sha256: str = ""
    boxes: tuple[Box, ...] = ()
    corner: Point = (0.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A query with its features.

    Attributes:
        asked: The picture.
        features: A batch of one image.
        fingerprint: What made the features.
        indexed: Whether the store knows the method at all.
        mirrored: Whether this is the mirror image (left for right) of what was asked with.
    """

    asked: Asked
    features: Features
    fingerprint: Fingerprint
    indexed: bool
    mirrored: bool = False

    @property
    def size(self) -> Size:
        """Of the picture: width and height in pixels."""
        return self.asked.size


def picture(pixels: RgbImage, boxes: Sequence[Box] = (), *, sha256: str = "") -> Asked:
    """A picture, or the parts of it that count: it is cut to the frame around the boxes.

    Args:
        pixels: The whole picture.
        boxes: Parts of it.
        sha256: Of the encoded picture, if that is known.

    Raises:
        InputError: a box has no area, or lies outside the picture.
    """
    height, width = pixels.shape[:2]
    if not boxes:
        return Asked(pixels, (width, height), (width, height), sha256=sha256)
    if len(boxes) > MAX_BOXES:
        raise InputError(f"at most {MAX_BOXES} boxes can be asked with, not {len(boxes)}")
    cut = [_within(box, width, height) for box in boxes]
    left, top = min(box[0] for box in cut), min(box[1] for box in cut)
    right, bottom = max(box[0] + box[2] for box in cut), max(box[1] + box[3] for box in cut)
    return Asked(
        np.ascontiguousarray(pixels[top:bottom, left:right]),
        (right - left, bottom - top),
        (width, height),
        boxes=tuple((float(x - left), float(y - top), float(w), float(h)) for x, y, w, h in cut),
        corner=(float(left), float(top)),
    )


def _within(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """The pixels that a box touches."""
    values: tuple[float, ...] = tuple(box)
    if len(values) != 4 or not all(map(math.isfinite, values)) or min(values[2:]) <= 0:
        raise InputError(f"a box is x, y, width, height, with an area: {box!r} is none")
    x, y, w, h = values
    left, top = max(0, math.floor(x)), max(0, math.floor(y))
    right, bottom = min(width, math.ceil(x + w)), min(height, math.ceil(y + h))
    if left >= right or top >= bottom:
        raise InputError(f"the box {box!r} lies outside the picture of {width} x {height} pixels")
    return left, top, right - left, bottom - top


def ask(store: Store, method: Method, asked: Asked) -> Question:
    """Features of a query that may be compared with those of a store.

    Args:
        store: Holds the gallery.
        method: Extracts from the query, unless that is a stored image.
        asked: The picture.

    Raises:
        UnknownImageError: no image of that id.
        MethodNotIndexedError: there are images, but none has features of this method.
        FingerprintMismatchError: the stored features were made differently.
        ModelMissingError: the query needs a network whose weights are not here.
    """
    info = store.info()
    stored = info.methods.get(method.name)
    if stored is None and info.images:
        if not asked.id:
            method.extractor.fingerprint()  # missing weights are the cause, so they are the error
        raise MethodNotIndexedError(method.name, info.methods)
    if asked.id:
        features = store.features(asked.id, method.name)
        fingerprint = stored.fingerprint if stored else method.extractor.fingerprint()
        return Question(asked, features, fingerprint, stored is not None)
    fingerprint = method.extractor.fingerprint()
    if stored and stored.fingerprint != fingerprint:
        raise FingerprintMismatchError(
            f"the stored {method.name} features were made differently: "
            f"{stored.fingerprint.difference(fingerprint)} (stored against present)",
            hint="use the settings or weights they were made with, or index into a new collection",
        )
    return Question(asked, extract(method, asked), fingerprint, stored is not None)


def extract(method: Method, asked: Asked) -> Features:
    """Features of what counts in a picture, as a batch of one.

    Of several boxes local features are put together; global ones, each of length 1, are added up: what is like all
    of the boxes is like their sum.
    """
    if len(asked.boxes) < 2:
        return method.extractor.extract([asked.pixels])
    parts = []
    for left, top, width, height in asked.boxes:
        x, y, w, h = int(left), int(top), int(width), int(height)
        parts.append(np.ascontiguousarray(asked.pixels[y : y + h, x : x + w]))
    batch = method.extractor.extract(parts)
    if isinstance(batch, GlobalFeatures):
        lengths = np.linalg.norm(batch.vectors, axis=1, keepdims=True)
        return GlobalFeatures(np.sum(batch.vectors / np.maximum(lengths, 1e-12), axis=0, keepdims=True))
    moved = []
    for number, (left, top, _, _) in enumerate(asked.boxes):
        one = batch.image(number)
        keypoints = one.keypoints + np.array([left, top, 0, 0], dtype=np.float32)
        moved.append(LocalFeatures(one.descriptors, keypoints, one.offsets))
    joined = concatenate(batch.spec(), moved)
    assert isinstance(joined, LocalFeatures)  # noqa: S101 - narrows the type; the parts are local
    count = len(joined.descriptors)
    return LocalFeatures(joined.descriptors, joined.keypoints, np.array([0, count], dtype=np.int64))


def views(method: Method, question: Question, *, mirror: bool) -> list[Question]:
    """The question, and, if wanted and the method can, its mirror image."""
    if not mirror or method.mirror is None:
        return [question]
    flipped = method.mirror(question.features, question.size[0])
    return [question, replace(question, features=flipped, mirrored=True)]
