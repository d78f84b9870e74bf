"""Segments: the immutable parts of an index, with the codes of some images sorted by word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagefinder.ann.arrays import Arrays

Keys = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Postings:
    """Words and codes of a batch of images, in order of images.

    Attributes:
        words: ``(P,)`` int32, word of each code.
        owners: ``(P,)`` int32, index of the image of each code.
        codes: ``(P,)`` or ``(P, c)``.
        sizes: ``(B,)`` int64, number of codes of each image.
    """

    words: NDArray[np.int32]
    owners: NDArray[np.int32]
    codes: NDArray[Any]
    sizes: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class SegmentScores:
    """Scores of the images of one segment for a query; images that share no word with it are left out.

    Attributes:
        rows: ``(F,)`` integers, rows of the segment's keys, without duplicates.
        scores: ``(F,)`` float64; higher is better.
    """

    rows: NDArray[np.int64] | NDArray[np.int32]
    scores: NDArray[np.float64]


@dataclass(slots=True, eq=False)
class Segment:
    """The codes of some images, sorted by word and then by image.

    Attributes:
        keys: ``(B,)`` int64, keys of the features, ascending.
        sizes: ``(B,)`` int64, number of codes of each image.
        starts: ``(W + 1,)`` int64: word ``w`` owns the postings ``starts[w]:starts[w + 1]``.
        owners: ``(P,)`` int32, row in ``keys`` of each posting.
        codes: ``(P,)`` or ``(P, c)``, code of each posting.
        alive: ``(B,)`` bool, whether the features still exist.
        name: Name of its file; empty without a file.
    """

    keys: Keys
    sizes: NDArray[np.int64]
    starts: NDArray[np.int64]
    owners: NDArray[np.int32]
    codes: NDArray[Any]
    alive: NDArray[np.bool_] = field(init=False)
    name: str = ""

    def __post_init__(self) -> None:
        self.alive = np.ones(len(self.keys), dtype=np.bool_)

    @property
    def nbytes(self) -> int:
        """Size of its arrays in bytes."""
        return sum(array.nbytes for array in self.arrays().values())

    def mask(self, gone: Keys) -> None:
        """Mark the images with these keys as removed; other keys are ignored."""
        rows = np.searchsorted(self.keys, gone)
        inside = rows < len(self.keys)
        rows = rows[inside][self.keys[rows[inside]] == gone[inside]]
        if len(rows):
            self.alive = self.alive.copy()  # other threads may be reading the old array
            self.alive[rows] = False

    def arrays(self) -> Arrays:
        """The arrays stored in its file."""
        return {
            "keys": self.keys,
            "sizes": self.sizes,
            "starts": self.starts,
            "owners": self.owners,
            "codes": self.codes,
        }

    def is_sound(self, words: int) -> bool:
        """Whether the arrays are consistent with one another and with this number of words."""
        return (
            len(self.starts) == words + 1
            and len(self.sizes) == len(self.keys)
            and len(self.owners) == len(self.codes)
            and self.starts[0] == 0
            and self.starts[-1] == len(self.owners)
            and bool((np.diff(self.starts) >= 0).all())
            and bool((np.diff(self.keys) > 0).all())
        )


def build(keys: Keys, parts: Sequence[Postings], words: int) -> Segment:
    """Build a segment from postings in several parts, in order of keys."""
    firsts = np.cumsum([0, *(len(part.sizes) for part in parts)])
    owners = np.concatenate([part.owners + np.int32(first) for part, first in zip(parts, firsts, strict=False)])
    return _sorted(
        keys,
        np.concatenate([part.sizes for part in parts]),
        all_words=np.concatenate([part.words for part in parts]),
        owners=owners.astype(np.int32),
        codes=np.concatenate([part.codes for part in parts]),
        words=words,
    )


def merge(segments: Sequence[Segment], words: int) -> Segment:
    """Merge segments, in order of keys, without removed images."""
    firsts = np.cumsum([0, *(int(segment.alive.sum()) for segment in segments)])
    all_words, owners, codes = [], [], []
    for segment, first in zip(segments, firsts, strict=False):
        kept = segment.alive[segment.owners]
        row = np.cumsum(segment.alive) - 1 + first
        all_words.append(np.repeat(np.arange(words, dtype=np.int32), np.diff(segment.starts))[kept])
        owners.append(row[segment.owners[kept]].astype(np.int32))
        codes.append(segment.codes[kept])
    keys = np.concatenate([segment.keys[segment.alive] for segment in segments])
    sizes = np.concatenate([segment.sizes[segment.alive] for segment in segments])
    # The keys of a segment that was lost and rebuilt may lie between those of others.
    order = np.argsort(keys, kind="stable")
    rank = np.empty(len(keys), dtype=np.int32)
    rank[order] = np.arange(len(keys), dtype=np.int32)
    return _sorted(
        keys[order],
        sizes[order],
        all_words=np.concatenate(all_words),
        owners=rank[np.concatenate(owners)],
        codes=np.concatenate(codes),
        words=words,
    )


def _sorted(
    keys: Keys,
    sizes: NDArray[np.int64],
    *,
    all_words: NDArray[np.int32],
    owners: NDArray[np.int32],
    codes: NDArray[Any],
    words: int,
) -> Segment:
    order = np.lexsort((owners, all_words))
    starts = np.zeros(words + 1, dtype=np.int64)
    np.cumsum(np.bincount(all_words, minlength=words), out=starts[1:])
    return Segment(keys, sizes, starts, owners[order], codes[order])


def disjoint(segments: Sequence[Segment]) -> list[Segment]:
    """Leave out segments that contain keys of earlier segments."""
    kept: list[Segment] = []
    seen: Keys = np.empty(0, dtype=np.int64)
    for segment in segments:
        if not contains(seen, segment.keys).any():
            kept.append(segment)
            seen = np.sort(np.concatenate([seen, segment.keys]))
    return kept


def contains(ordered: Keys, keys: Keys) -> NDArray[np.bool_]:
    """Which of ``keys`` are in ``ordered``, which is ascending; bool."""
    if not len(ordered):
        return np.zeros(len(keys), dtype=np.bool_)
    places = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    contained: NDArray[np.bool_] = ordered[places] == keys
    return contained
