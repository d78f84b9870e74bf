"""Compress encoded features to one frame per image, and expand them; the frame is a value of a row or an object.

A frame is a magic number with a version, the length of the first of two Zstandard frames, and these: the vector or
the descriptors, and the keypoints (absent for global features). Two take 2.5 % fewer bytes than one of both.
Level 1 takes no more than level 3 at half the time: descriptors repeat nothing, only their values are not equally
frequent.
"""

from __future__ import annotations

import struct

import numpy as np
import zstandard

from imagefinder.core.errors import CollectionCorruptError, StoreError
from imagefinder.core.features import Features, FeatureSpec
from imagefinder.stores.codec import KEYPOINT_BYTES, EncodedFeatures, FeatureDecoder, damaged, is_intact

MOST_BYTES = 256 << 20
"""Maximum size of the uncompressed features of one image, far above those of the installed methods."""

_MAGIC = b"IFZ\1"
_HEADER = struct.Struct("<4sI")
_LEVEL = 1


def compress(image_id: str, method: str, encoded: EncodedFeatures) -> bytes:
    """The frame of the encoded features of an image; ``EncodedFeatures.checksum`` is kept apart from it.

    Raises:
        StoreError: the features exceed ``MOST_BYTES``.
    """
    if encoded.nbytes > MOST_BYTES:
        raise StoreError(
            f"the {method} features of image {image_id!r} have {encoded.nbytes:,} bytes; a distributed collection "
            f"stores at most {MOST_BYTES:,} for each image and method"
        )
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    data, keypoints = (compressor.compress(part) if part else b"" for part in (encoded.data, encoded.keypoints))
    return _HEADER.pack(_MAGIC, len(data)) + data + keypoints


class FrameDecoder:
    """Decodes the frames of images to one batch of features; a frame can be released as soon as it was added."""

    def __init__(self, method: str, spec: FeatureSpec) -> None:
        """Begin a batch of a method with features of this kind."""
        self._method, self._spec = method, spec
        self._expander = _Expander(spec)
        self._decoder = FeatureDecoder(method, spec)

    def add(self, image_id: str, frame: bytes, checksum: int) -> None:
        """Append the features of an image.

        Args:
            image_id: The image that the features belong to.
            frame: The frame, as ``compress`` returned it.
            checksum: The checksum of the encoded features, from the row of the image.

        Raises:
            CollectionCorruptError: the frame is damaged, or that of another image or method.
        """
        encoded = self._expander.expand(frame, checksum)
        if encoded is None:
            raise damaged(image_id, self._method)
        self._decoder.add(image_id, encoded)

    def features(self) -> Features:
        """All features added, in read-only arrays."""
        return self._decoder.features()


def expand(image_id: str, method: str, spec: FeatureSpec, frame: bytes, checksum: int) -> EncodedFeatures:
    """The encoded features in the frame of an image.

    Raises:
        CollectionCorruptError: the frame is damaged, or that of another image or method.
    """
    encoded = _Expander(spec).expand(frame, checksum)
    if encoded is None or not is_intact(image_id, method, spec, encoded):
        raise damaged(image_id, method)
    return encoded


def is_intact_frame(image_id: str, method: str, spec: FeatureSpec, frame: bytes, checksum: int) -> bool:
    """Whether a frame contains features of this image and method with this checksum."""
    try:
        expand(image_id, method, spec, frame, checksum)
    except CollectionCorruptError:
        return False
    return True


class _Expander:
    """Expands frames of one kind of features; not for several threads at once."""

    def __init__(self, spec: FeatureSpec) -> None:
        self._spec = spec
        self._decompressor = zstandard.ZstdDecompressor()

    def expand(self, frame: bytes, checksum: int) -> EncodedFeatures | None:
        """The encoded features in a frame; ``None`` if it has another format. Its checksum is not compared."""
        if len(frame) < _HEADER.size:
            return None
        magic, length = _HEADER.unpack_from(frame)
        end = _HEADER.size + length
        if magic != _MAGIC or end > len(frame):
            return None
        parts = memoryview(frame)
        data = self._content(parts[_HEADER.size : end], None)
        if data is None:
            return None
        if self._spec.kind == "global":
            return EncodedFeatures(data, None, checksum) if end == len(frame) else None
        rows = len(data) // (self._spec.dim * np.dtype(self._spec.dtype).itemsize)
        keypoints = self._content(parts[end:], rows * KEYPOINT_BYTES)
        return None if keypoints is None else EncodedFeatures(data, keypoints, checksum)

    def _content(self, frame: memoryview, size: int | None) -> bytes | None:
        """The content of a Zstandard frame, of this size or within the limit; ``None`` if it has none such."""
        if not frame:
            return None if size else b""
        try:
            # The library allocates the size that a frame states, whatever limit it is called with.
            stated = zstandard.get_frame_parameters(frame).content_size
            if stated > MOST_BYTES or size not in (None, stated):
                return None
            return self._decompressor.decompress(frame, allow_extra_data=False)
        except zstandard.ZstdError:
            return None
