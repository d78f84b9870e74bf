"""Fuzz targets for what processes read from the database and the object store of a cluster."""

from __future__ import annotations

import zlib

import numpy as np
from targets import LOCAL, features_of, target

from imagefinder.ann.aggregate import Aggregation, train_on
from imagefinder.core.errors import CollectionCorruptError
from imagefinder.core.features import LocalFeatures
from imagefinder.indexing.guard import TRUSTED
from imagefinder.indexing.portion import Portion
from imagefinder.indexing.source_item import SourceItem
from imagefinder.stores import codec
from imagefinder.stores.distributed import codec as frames
from imagefinder.stores.distributed.feed import CommitPosition


def _frames() -> list[bytes]:
    encoded = codec.encode("a", "tiny", features_of(3))
    return [encoded.checksum.to_bytes(4, "little") + frames.compress("a", "tiny", encoded)]


@target("feature-frame", _frames)
def _feature_frame(data: bytes) -> None:
    checksum = int.from_bytes(data[:4], "little")
    try:
        frames.expand("a", "tiny", LOCAL, data[4:], checksum)
    except CollectionCorruptError:
        return


def _portions() -> list[bytes]:
    item = SourceItem("a.jpg", "file:///images/a.jpg", "file:///images", "1", {"shop": "b"})
    return [Portion((item,)).to_bytes()]


@target("portion", _portions)
def _portion(data: bytes) -> None:
    try:
        Portion.from_bytes(data, TRUSTED)
    except ValueError:
        return


def _aggregations() -> list[bytes]:
    rng = np.random.default_rng(0)
    images = [
        LocalFeatures(
            rng.integers(0, 255, (20, 4), dtype=np.uint8),
            np.ones((20, 4), np.float32),
            np.array([0, 20], np.int64),
        )
        for _ in range(3)
    ]
    return [train_on(lambda: iter(images), len(images), LOCAL).to_bytes()[4:]]


@target("aggregation", _aggregations)
def _aggregation(data: bytes) -> None:
    try:
        Aggregation.from_bytes(zlib.crc32(data).to_bytes(4, "little") + data, LOCAL)
    except ValueError:
        return


@target("commit-position", lambda: [CommitPosition("history", 1, 2, 3, 4).cursor().encode()])
def _commit_position(data: bytes) -> None:
    position = CommitPosition.parse(data.decode("utf-8", "surrogateescape"))
    assert position is None or CommitPosition.parse(position.cursor()) == position
