"""How features become codes that an index can compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from imagefinder.ann.arrays import Arrays
from imagefinder.ann.segment import Postings, Segment, SegmentScores
from imagefinder.core.features import Features


class Codec(Protocol):
    """How features of one form are encoded and compared.

    ``name`` and ``version`` are written into the files; a change of what is encoded raises ``version``.
    """

    name: str
    version: int

    def words(self, images: int, rows: int) -> int:
        """How many words suit a collection of this many images and rows (vectors or descriptors)."""
        ...

    def sample_rows(self, images: int, rows: int) -> int:
        """How many rows to learn from."""
        ...

    def train(self, sample: Features, images: int, rows: int) -> Arrays:
        """What is learned from a sample; ``coarse`` and ``fine`` are its words."""
        ...

    def encode(self, model: Arrays, features: Features) -> Postings:
        """Words and codes of features."""
        ...

    def score(self, model: Arrays, queries: Features, segments: Sequence[Segment]) -> list[list[SegmentScores]]:
        """For each query the scores of each segment; higher is better."""
        ...
