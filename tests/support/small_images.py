"""Entries of small images with seeded features, for tests of stores with many writers."""

from __future__ import annotations

import numpy as np

from imagefinder.core.contracts import Store
from imagefinder.core.features import FeatureSpec, LocalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, ImageRecord

SPEC = FeatureSpec("local", 128, "uint8")
MADE_BY = Fingerprint("sift", 1, {})


def register(store: Store) -> Store:
    """Register the method of the entries; returns the store."""
    store.register(MADE_BY, SPEC)
    return store


def small_image(image_id: str, seed: int = 0, *, points: int = 20) -> Entry:
    """An image with seeded SIFT-like features and a thumbnail of 1000 bytes."""
    generator = np.random.default_rng([seed, *image_id.encode()])
    features = LocalFeatures(
        generator.integers(0, 256, (points, 128), dtype=np.uint8),
        generator.uniform(0, 99, (points, 4)).astype(np.float32),
        np.array([0, points], dtype=np.int64),
    )
    record = ImageRecord(image_id, f"file:///{image_id}", "", 1, 9, 9, "JPEG", metadata={"seed": seed})
    return Entry(record, {"sift": features}, generator.bytes(1000))
