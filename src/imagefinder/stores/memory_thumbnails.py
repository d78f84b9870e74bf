"""Features of thumbnails in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from imagefinder.core.features import FeatureSpec, LocalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import ThumbnailFeatures, ThumbnailUsage
from imagefinder.stores import validation


class _ImageWithThumbnail(Protocol):
    thumbnail: bytes
    thumbnail_features: ThumbnailFeatures | None


class ThumbnailsInMemory:
    """The part of the store that reads and completes the features of thumbnails (``StoreThumbnails``)."""

    _images: Mapping[str, _ImageWithThumbnail]

    def _open(self) -> threading.RLock:
        raise NotImplementedError

    def thumbnail_features(
        self, ids: Sequence[str], fingerprint: Fingerprint, spec: FeatureSpec
    ) -> dict[str, LocalFeatures]:
        """The features of the thumbnails of the images that have any, by id."""
        valid = validation.valid_ids(ids)
        with self._open():
            made = {image_id: self._made(image_id, fingerprint) for image_id in valid}
        return {image_id: one.features for image_id, one in made.items() if one and one.features.spec() == spec}

    def put_thumbnail_features(
        self, made: Mapping[str, ThumbnailFeatures], thumbnails: Mapping[str, bytes]
    ) -> None:
        """Store features of the thumbnails of images that still have these thumbnails."""
        for image_id, one in made.items():
            validation.check_one_image(image_id, {"thumbnail": one.features})
        with self._open():
            for image_id, one in made.items():
                image = self._images.get(image_id)
                if image and image.thumbnail and image.thumbnail == thumbnails[image_id]:
                    image.thumbnail_features = read_only_thumbnail(one)

    def lacking_thumbnail_features(self, fingerprint: Fingerprint, *, limit: int) -> list[str]:
        """Ids of up to ``limit`` images that have a thumbnail and no features of it."""
        with self._open():
            lacking = [
                i for i, image in self._images.items() if image.thumbnail and not self._made(i, fingerprint)
            ]
        return lacking[:limit]

    def thumbnail_usage(self, fingerprint: Fingerprint) -> ThumbnailUsage:
        """Number and bytes of the features with this fingerprint."""
        with self._open():
            sizes = [made.features.nbytes for i in self._images if (made := self._made(i, fingerprint))]
        return ThumbnailUsage(len(sizes), sum(sizes))

    def _made(self, image_id: str, fingerprint: Fingerprint) -> ThumbnailFeatures | None:
        image = self._images.get(image_id)
        made = image.thumbnail_features if image else None
        return made if made and made.fingerprint == fingerprint else None


def read_only_thumbnail(made: ThumbnailFeatures | None) -> ThumbnailFeatures | None:
    """A copy whose arrays are read-only."""
    if made is None:
        return None
    arrays = [
        a.copy(order="C") for a in (made.features.descriptors, made.features.keypoints, made.features.offsets)
    ]
    for array in arrays:
        array.flags.writeable = False
    return replace(made, features=LocalFeatures(*arrays))  # type: ignore[arg-type]  # arrays of three types
