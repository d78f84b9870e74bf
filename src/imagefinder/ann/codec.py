"""The contract of codecs, which encode features for an index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from imagefinder.ann.arrays import Arrays
from imagefinder.ann.segment import Postings, Segment, SegmentScores
from imagefinder.core.features import Features


class Codec(Protocol):
    """Encodes and compares features of one spec.

    ``name`` and ``version`` are stored with an index; any change of the encoding raises ``version``.
    """

    name: str
    version: int

    def words(self, images: int, rows: int) -> int:
        """Number of words for a collection with this many images and rows (vectors or descriptors)."""
        ...

    def sample_rows(self, images: int, rows: int) -> int:
        """Number of rows to train on."""
        ...

    def train(self, sample: Features, images: int, rows: int) -> Arrays:
        """Train a model on a sample; ``coarse`` and ``fine`` are its words."""
        ...

    def encode(self, model: Arrays, features: Features) -> Postings:
        """Encode features to words and codes."""
        ...

    def score(self, model: Arrays, queries: Features, segments: Sequence[Segment]) -> list[list[SegmentScores]]:
        """Score the images of each segment against each query: one list of segment scores per query."""
        ...
