"""Encode features as checksummed little-endian blobs, and decode them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np

from imagefinder.core.errors import CollectionCorruptError
from imagefinder.core.features import Features, FeatureSpec, GlobalFeatures, LocalFeatures, empty
from imagefinder.core.file_metadata import NO_FILE_METADATA, FileMetadata

_LITTLE_ENDIAN = {"float32": "<f4", "uint8": "u1", "int8": "i1"}
KEYPOINT_BYTES = 16

REPAIR_HINT = "find all damage with imagefinder check, and repair it with imagefinder check --repair"


@dataclass(frozen=True, slots=True)
class EncodedFeatures:
    """The stored features of one image.

    Attributes:
        data: The vector, or the descriptors row by row.
        keypoints: x, y, size and angle of each descriptor, float32; ``None`` for global features.
        checksum: CRC-32 of the method, the image id and all bytes.
    """

    data: bytes
    keypoints: bytes | None
    checksum: int

    @property
    def nbytes(self) -> int:
        """Bytes of data and keypoints."""
        return len(self.data) + len(self.keypoints or b"")


def encode(image_id: str, method: str, features: Features) -> EncodedFeatures:
    """Encode the features of one image (a batch of one)."""
    if isinstance(features, GlobalFeatures):
        data, keypoints = features.vectors.astype("<f4", copy=False).tobytes(), None
    else:
        data = features.descriptors.astype(_LITTLE_ENDIAN[features.spec().dtype], copy=False).tobytes()
        keypoints = features.keypoints.astype("<f4", copy=False).tobytes()
    return EncodedFeatures(data, keypoints, checksum(image_id, method, data, keypoints))


def decode(method: str, spec: FeatureSpec, ids: Sequence[str], blobs: Sequence[EncodedFeatures]) -> Features:
    """Decode the features of several images to one batch of read-only arrays.

    Raises:
        CollectionCorruptError: the checksum of an image is wrong; names the first.
    """
    decoder = FeatureDecoder(method, spec)
    for image_id, blob in zip(ids, blobs, strict=True):
        decoder.add(image_id, blob)
    return decoder.features()


class FeatureDecoder:
    """Decodes the features of images to one batch; the encoded ones can be released as soon as they were added."""

    def __init__(self, method: str, spec: FeatureSpec) -> None:
        """Begin a batch of a method with features of this kind."""
        self._method = method
        self._spec = spec
        self._data, self._keypoints = bytearray(), bytearray()
        self._ends = [0]

    def add(self, image_id: str, blob: EncodedFeatures) -> None:
        """Append the features of an image.

        Raises:
            CollectionCorruptError: the checksum is wrong.
        """
        if not is_intact(image_id, self._method, self._spec, blob):
            raise damaged(image_id, self._method)
        self._data += blob.data
        self._keypoints += blob.keypoints or b""
        self._ends.append(len(self._data))

    def features(self) -> Features:
        """All features added, in read-only arrays."""
        spec = self._spec
        if len(self._ends) == 1:
            return empty(spec)
        data = _array(self._data, spec.dtype, spec.dim)
        if spec.kind == "global":
            return GlobalFeatures(data)
        offsets = np.array(self._ends, dtype=np.int64) // (spec.dim * np.dtype(spec.dtype).itemsize)
        offsets.flags.writeable = False
        return LocalFeatures(data, _array(self._keypoints, "float32", 4), offsets)


def damaged(image_id: str, method: str) -> CollectionCorruptError:
    """The error for damaged features of an image."""
    return CollectionCorruptError(
        f"the stored {method} features of image {image_id!r} are damaged", hint=REPAIR_HINT
    )


def content_checksum(image_id: str, method: str, nbytes: int, checksum: int) -> int:
    """CRC-32 of data and keypoints alone, computed from ``EncodedFeatures.checksum`` without reading them.

    CRC-32 is linear: that of a text A followed by ``nbytes`` bytes B is ``crc(A) x^(8 nbytes) + crc(B)`` modulo
    its polynomial. Source: ``crc32_combine`` of zlib.
    """
    return checksum ^ _product(_shift(nbytes), zlib.crc32(_owner(image_id, method)))


def is_intact(image_id: str, method: str, spec: FeatureSpec, blob: EncodedFeatures) -> bool:
    """Whether encoded features have the right shape and checksum for this image and method."""
    # A damaged database may return values of other types.
    owner, data, keypoints = cast("tuple[object, object, object]", (image_id, blob.data, blob.keypoints))
    if not (isinstance(owner, str) and isinstance(data, bytes) and isinstance(keypoints, bytes | None)):
        return False
    rows, rest = divmod(len(data), spec.dim * np.dtype(spec.dtype).itemsize)
    if spec.kind == "global":
        well_formed = rows == 1 and keypoints is None
    else:
        well_formed = keypoints is not None and len(keypoints) == rows * KEYPOINT_BYTES
    return well_formed and rest == 0 and checksum(image_id, method, data, keypoints) == blob.checksum


def record_checksum(values: Sequence[str | float | None]) -> int:
    """CRC-32 of the record of an image: its columns in the order of the table."""
    return zlib.crc32(json.dumps(list(values)).encode())


def file_metadata_values(image_id: str, found: FileMetadata) -> tuple[str, str, str, str, int]:
    """Stamp, stack, burst and properties of what a file says about an image, and their checksum."""
    values = (found.stamp, found.stack, found.burst, found.text())
    return (*values, record_checksum((image_id, *values)))


def read_file_metadata(image_id: str, row: Sequence[Any]) -> FileMetadata:
    """File metadata from the values of ``file_metadata_values``; the stamp is ``None`` for an image without any.

    Raises:
        CollectionCorruptError: the checksum is wrong.
    """
    stamp, stack, burst, properties, checksum = row
    if stamp is None:
        return NO_FILE_METADATA
    stack = stack or ""  # a store may keep none as NULL
    if not is_intact_record((image_id, stamp, stack, burst, properties), checksum):
        raise CollectionCorruptError(f"the file metadata of image {image_id!r} are damaged", hint=REPAIR_HINT)
    return FileMetadata(json.loads(properties), stamp, stack, burst)


def is_intact_record(values: Sequence[object], checksum: object) -> bool:
    """Whether the columns of an image have the right checksum."""
    try:
        return record_checksum(values) == checksum  # type: ignore[arg-type]
    except TypeError:  # a damaged database may return bytes instead of text
        return False


def thumbnail_checksum(image_id: str, jpeg: bytes) -> int:
    """CRC-32 of a thumbnail and its image id."""
    return zlib.crc32(jpeg, zlib.crc32(image_id.encode()))


def is_intact_thumbnail(image_id: object, checksum: object, jpeg: object) -> bool:
    """Whether a thumbnail has the right checksum; both are ``None`` for an image without a thumbnail."""
    if jpeg is None or checksum is None:
        return jpeg is checksum
    return isinstance(jpeg, bytes) and isinstance(image_id, str) and thumbnail_checksum(image_id, jpeg) == checksum


def _array(joined: bytearray, dtype: str, columns: int) -> np.ndarray[Any, Any]:
    little = np.frombuffer(joined, dtype=_LITTLE_ENDIAN[dtype]).reshape(-1, columns)
    array = little.astype(dtype, copy=False)
    array.flags.writeable = False
    return array


def checksum(image_id: str, method: str, data: bytes, keypoints: bytes | None) -> int:
    """CRC-32 including method and image id, to detect features that a damaged index assigns to another image."""
    return zlib.crc32(keypoints or b"", zlib.crc32(data, zlib.crc32(_owner(image_id, method))))


def _owner(image_id: str, method: str) -> bytes:
    return f"{method}\0{image_id}".encode()


_POLYNOMIAL = 0xEDB88320
"""The polynomial of CRC-32 without x^32; in this and all other polynomials, the highest bit stands for x^0."""


def _product(a: int, b: int) -> int:
    """The product of two polynomials modulo that of CRC-32."""
    product, bit = 0, 1 << 31
    while bit:
        if a & bit:
            product ^= b
        b = (b >> 1) ^ _POLYNOMIAL if b & 1 else b >> 1
        bit >>= 1
    return product


@lru_cache(maxsize=1024)
def _shift(nbytes: int) -> int:
    """The polynomial x^(8 nbytes) modulo that of CRC-32."""
    power, square = 1 << 31, 1 << 23  # x^0 and x^8
    while nbytes:
        if nbytes & 1:
            power = _product(power, square)
        square = _product(square, square)
        nbytes >>= 1
    return power
