"""Features in memory: read-only copies, blocks, sizes and checksums."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from imagefinder.core.features import Features, FeatureSpec, GlobalFeatures, LocalFeatures, concatenate
from imagefinder.core.records import GalleryBlock

_BLOCK_BYTES = 32 << 20

_Array = TypeVar("_Array", bound=np.ndarray[Any, Any])


def blocks(spec: FeatureSpec, matching: list[tuple[str, Features]]) -> Iterator[GalleryBlock]:
    """Images (id, features) in blocks of about 32 MB."""
    ids: list[str] = []
    parts: list[Features] = []
    size = 0
    for image_id, features in matching:
        ids.append(image_id)
        parts.append(features)
        size += features.nbytes
        if size >= _BLOCK_BYTES:
            yield GalleryBlock(tuple(ids), concatenate(spec, parts))
            ids, parts, size = [], [], 0
    if ids:
        yield GalleryBlock(tuple(ids), concatenate(spec, parts))


def read_only(features: Mapping[str, Features]) -> dict[str, Features]:
    """Read-only copies of the features."""
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


def stored_bytes(features: Features) -> int:
    """Bytes of the features without offsets, as every store counts them."""
    if isinstance(features, GlobalFeatures):
        return features.nbytes
    return features.descriptors.nbytes + features.keypoints.nbytes


def checksum(image_id: str, features: Features) -> int:
    """CRC-32 of an image id and its features, a batch of one."""
    arrays = (
        (features.vectors,) if isinstance(features, GlobalFeatures) else (features.descriptors, features.keypoints)
    )
    value = zlib.crc32(image_id.encode())
    for array in arrays:
        value = zlib.crc32(np.ascontiguousarray(array).tobytes(), value)
    return value
