"""The contract of codecs, which encode features for an index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

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
        """Train a model on a sample; the array ``halves`` has one element per word number."""
        ...

    def check(self, model: Arrays) -> None:
        """Check that arrays read from a file have the names, dtypes and shapes of a trained model.

        Raises:
            ValueError: they do not.
        """
        ...

    def encode(self, model: Arrays, features: Features) -> Postings:
        """Encode features to words and codes."""
        ...

    def score(self, model: Arrays, queries: Features, segments: Sequence[Segment]) -> list[list[SegmentScores]]:
        """Score the images of each segment against each query: one list of segment scores per query."""
        ...


def check_shapes(
    arrays: Arrays, shapes: Mapping[str, str], sizes: Mapping[str, int], dtypes: Mapping[str, type] | None = None
) -> None:
    """Check arrays against shapes written as letters, one per axis; equal letters stand for equal sizes.

    Args:
        arrays: The arrays.
        shapes: Name -> letters, such as ``"CFD"``; exactly the names that ``arrays`` must have.
        sizes: Letter -> size, of the letters that are fixed.
        dtypes: Name -> dtype, of those that are not float32.

    Raises:
        ValueError: an array is missing, superfluous, empty, or of another dtype or shape.
    """
    if arrays.keys() != shapes.keys():
        raise ValueError(f"the model has the arrays {sorted(arrays)} instead of {sorted(shapes)}")
    bound = dict(sizes)
    for name, letters in shapes.items():
        shape = arrays[name].shape
        dtype = (dtypes or {}).get(name, np.float32)
        fits = len(shape) == len(letters) and arrays[name].dtype == dtype and min(shape, default=1) > 0
        if not fits or any(
            bound.setdefault(letter, size) != size for letter, size in zip(letters, shape, strict=True)
        ):
            raise ValueError(f"the array {name} of the model has the shape {shape}")
