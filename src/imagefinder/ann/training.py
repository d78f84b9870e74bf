"""The training sample of an index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imagefinder.ann.codec import Codec
from imagefinder.ann.segment import Keys
from imagefinder.core.contracts import Store
from imagefinder.core.features import Features, FeatureSpec, LocalFeatures, concatenate

BATCH_BYTES = 64 << 20
"""Bytes of features to load at once."""


def row_bytes(spec: FeatureSpec) -> int:
    """Bytes of a vector, or of a descriptor with its keypoint, as counted by the store."""
    keypoint = 16 if spec.kind == "local" else 0
    return spec.dim * np.dtype(spec.dtype).itemsize + keypoint


def training_sample(
    store: Store, method: str, spec: FeatureSpec, codec: Codec, *, keys: Keys, sizes: NDArray[np.int64]
) -> tuple[Features, int]:
    """Sample features to train the codec on; deterministic for the same images.

    Args:
        store: The store to load features from.
        method: Name of the method.
        spec: Kind, dimension and dtype of the features.
        codec: Determines the size of the sample.
        keys: ``(B,)`` int64, keys of all images.
        sizes: ``(B,)`` int64, bytes of the features of each image.

    Returns:
        The sample, and the number of rows of the whole collection.
    """
    rng = np.random.default_rng(0)
    rows = int(sizes.sum()) // row_bytes(spec)
    wanted = codec.sample_rows(len(keys), rows)
    many = wanted
    if spec.kind == "local":  # a quarter of the descriptors of each image, so that more images are sampled
        many = min(len(keys), max(64, 4 * wanted * len(keys) // max(1, rows)))
    chosen = np.sort(rng.choice(keys, min(many, len(keys)), replace=False)) if len(keys) else keys
    share = min(1.0, wanted / max(1, rows) * len(keys) / max(1, len(chosen)))
    mean = max(1, int(sizes.sum()) // max(1, len(keys)))
    step = max(1, BATCH_BYTES // mean)
    loaded = (
        store.load(method, chosen[begin : begin + step])[1].features for begin in range(0, len(chosen), step)
    )
    if spec.kind == "global":
        return concatenate(spec, list(loaded)), rows
    # Filled in place: the sample of a large collection is too large to be in memory twice.
    descriptors = np.empty((wanted + -(-len(chosen) // step), spec.dim), dtype=spec.dtype)
    filled = 0
    for features in loaded:
        assert isinstance(features, LocalFeatures)  # noqa: S101 - narrows the type
        count = len(features.descriptors)
        kept = np.sort(rng.choice(count, min(round(share * count), len(descriptors) - filled), replace=False))
        descriptors[filled : filled + len(kept)] = features.descriptors[kept]
        filled += len(kept)
    keypoints = np.zeros((filled, 4), dtype=np.float32)  # not used; zeros take no memory
    return LocalFeatures(descriptors[:filled], keypoints, np.array([0, filled], dtype=np.int64)), rows
