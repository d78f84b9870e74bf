"""Synthetic vectors of aggregated local features: sums of random patches of real descriptors."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import words
from imagefinder.core.features import LocalFeatures

PATCHES = 20_000
BATCH = words.BATCH


def patches(sources: words.Sources, aggregation: Any) -> np.ndarray:
    """Sums of the differences from the centres, of random patches: ``(PATCHES, C, d)`` float16."""
    from imagefinder.ann.aggregate import _nearest, _normalised

    rng, centres = np.random.default_rng(5), aggregation.arrays["centres"]
    found = np.empty((PATCHES, *centres.shape), dtype=np.float16)
    for number in range(PATCHES):
        many = int(rng.choice(sources.counts)) // 8
        rows = np.asarray(sources.near[rng.integers(len(sources.near))][: min(many, words.NEIGHBOURS)])
        descriptors = sources.noisy(rows.astype(np.int64), rng)
        keypoints = np.zeros((len(rows), 4), np.float32)
        features = LocalFeatures(descriptors, keypoints, np.array([0, len(rows)], dtype=np.int64))
        reduced = _normalised(features) @ aggregation.arrays["reduction"]
        chosen = (_nearest(reduced, centres)[:, None] == np.arange(len(centres))).astype(np.float32)
        found[number] = chosen.T @ reduced - chosen.sum(axis=0)[:, None] * centres
    return found


def distractors(aggregation: Any, sums: np.ndarray, batch: int) -> np.ndarray:
    """Vectors of ``BATCH`` distractors: ``(BATCH, D)`` float32."""
    from imagefinder.ann.aggregate import _directions

    rng = np.random.default_rng((99, batch))
    raw = np.zeros((BATCH, *sums.shape[1:]), dtype=np.float32)
    for _ in range(8):
        raw += sums[rng.integers(len(sums), size=BATCH)]
    raw = _directions(_directions(raw.reshape(-1, sums.shape[2])).reshape(BATCH, -1))
    projected = (raw - aggregation.arrays["mean"]) @ aggregation.arrays["projection"]
    return _directions(projected).astype(np.float16).astype(np.float32)
