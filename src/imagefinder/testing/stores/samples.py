"""Sample methods, ids and images of the store suite, and functions to compare stored data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from imagefinder.core.contracts import Store
from imagefinder.core.features import Features, FeatureSpec, GlobalFeatures, LocalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.metadata import MAX_ID_BYTES
from imagefinder.core.records import Entry, ImageRecord

MakeStore = Callable[[Path], Store]
"""Opens or creates the store at a location, a separate folder."""

METHODS: Mapping[str, FeatureSpec] = {
    "points": FeatureSpec("local", 8, "uint8"),
    "tokens": FeatureSpec("local", 6, "float32"),
    "int8 tokens": FeatureSpec("local", 6, "int8"),
    "vector": FeatureSpec("global", 12, "float32"),
}
"""The methods of the tests, one for each kind of features."""

ODD_IDS = (
    "a",
    "Z",
    "10",
    "9",
    "ä",
    "a\u0308",
    "sub folder/image (1).jpg",
    "..",
    "%2F",
    "a'b\"c;--",
    "line\nbreak",
    "nul\0inside",
    "nul\0other",
    "\U0001f600",
    "\uffff",
    "日本",
    " ",
    "x" * MAX_ID_BYTES,
    "é" * (MAX_ID_BYTES // 2),
)
"""Ids that are difficult for stores."""


def fingerprint(method: str, **parameters: Any) -> Fingerprint:
    """The fingerprint of a method of the tests."""
    return Fingerprint(method, 1, {"size": 7, **parameters})


def features(method: str, seed: int, count: int = 5) -> Features:
    """Seeded features of one image; local ones have ``count`` descriptors."""
    spec = METHODS[method]
    generator = np.random.default_rng(seed)
    if spec.kind == "global":
        return GlobalFeatures(generator.normal(size=(1, spec.dim)).astype(np.float32))
    descriptors = (
        generator.integers(0, 256, size=(count, spec.dim), dtype=np.uint8).view(spec.dtype)
        if spec.dtype != "float32"
        else generator.normal(size=(count, spec.dim)).astype(np.float32)
    )
    keypoints = generator.uniform(-1, 999, size=(count, 4)).astype(np.float32)
    return LocalFeatures(descriptors, keypoints, np.array([0, count], dtype=np.int64))


def entry(image_id: str, seed: int = 0, methods: Sequence[str] = tuple(METHODS), **values: Any) -> Entry:
    """An image with seeded features; ``values`` are fields of its record."""
    record = ImageRecord(
        id=image_id,
        uri=f"file:///images/{seed}.jpg",
        sha256=f"{seed:064x}",
        size_bytes=1000 + seed,
        width=640,
        height=480,
        format="JPEG",
        stamp=f"1000:{seed}",
    )
    return Entry(
        replace(record, **values), {name: features(name, seed) for name in methods}, b"\xff\xd8 %d" % seed
    )


def content(batch: Features) -> tuple[Any, ...]:
    """Kind, dtypes, shapes and bytes of features: equal if and only if the features are identical."""
    if isinstance(batch, GlobalFeatures):
        return "global", batch.vectors.shape, batch.vectors.tobytes()
    arrays = (batch.descriptors, batch.keypoints, batch.offsets)
    return "local", *((array.dtype.str, array.shape, array.tobytes()) for array in arrays)


def scanned(store: Store, method: str) -> dict[str, tuple[Any, ...]]:
    """Id -> content of all images of a scan; checks that there are no duplicates."""
    found: dict[str, tuple[Any, ...]] = {}
    for block in store.scan(method):
        assert len(block.ids) == len(block.features)
        assert block.features.spec() == METHODS[method]
        for index, image_id in enumerate(block.ids):
            assert image_id not in found
            found[image_id] = content(block.features.image(index))
    return found


def register(store: Store) -> None:
    """Register all methods of the tests."""
    for name, spec in METHODS.items():
        store.register(fingerprint(name), spec)


def data_of(store: Store, name: str) -> bytes | None:
    """The derived data of a name without their version; ``None`` if there are none."""
    stored = store.derived(name)
    return stored.data if stored else None
