"""Segments: the immutable parts of an index, with the codes of some images sorted by word."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagefinder.ann.arrays import Arrays, release

Keys = NDArray[np.int64]
Allocate = Callable[[Any, Any], NDArray[Any]]

MERGED_AT_ONCE = 1 << 22
"""Number of postings that a merge sorts at once; each needs about 70 bytes of memory."""


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
        words: ``(V,)`` int32, ascending: the words that occur. A small segment has few of a million words.
        starts: ``(V + 1,)`` int64: ``words[v]`` owns the postings ``starts[v]:starts[v + 1]``.
        owners: ``(P,)`` int32, row in ``keys`` of each posting.
        codes: ``(P,)`` or ``(P, c)``, code of each posting.
        alive: ``(B,)`` bool, whether the features still exist.
        name: Name of its file; empty without a file.
    """

    keys: Keys
    sizes: NDArray[np.int64]
    words: NDArray[np.int32]
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
            "words": self.words,
            "starts": self.starts,
            "owners": self.owners,
            "codes": self.codes,
        }

    def ranges(self, words: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Begin and end of the postings of each of these words: ``(n,)`` int64 each; 0 and 0 without postings."""
        if not len(self.words):
            return np.zeros(len(words), dtype=np.int64), np.zeros(len(words), dtype=np.int64)
        places = np.minimum(np.searchsorted(self.words, words), len(self.words) - 1)
        occurs = self.words[places] == words
        return np.where(occurs, self.starts[places], 0), np.where(occurs, self.starts[places + 1], 0)

    def release(self) -> None:
        """Let the system take the memory of the postings that were read from the file."""
        release([self.owners, self.codes])

    def is_sound(self, words: int) -> bool:
        """Whether the arrays are consistent with one another and with this number of words."""
        return (
            len(self.starts) == len(self.words) + 1
            and bool((np.diff(self.words) > 0).all())
            and (not len(self.words) or (self.words[0] >= 0 and self.words[-1] < words))
            and len(self.sizes) == len(self.keys)
            and len(self.owners) == len(self.codes) == self.sizes.sum()
            and self.starts[0] == 0
            and self.starts[-1] == len(self.owners)
            and bool((np.diff(self.starts) >= 0).all())
            and bool((np.diff(self.keys) > 0).all())
        )


def build(keys: Keys, parts: Sequence[Postings]) -> Segment:
    """Build a segment from postings in several parts, in order of keys."""
    firsts = np.cumsum([0, *(len(part.sizes) for part in parts)])
    owners = np.concatenate([part.owners + np.int32(first) for part, first in zip(parts, firsts, strict=False)])
    return Segment(
        keys,
        np.concatenate([part.sizes for part in parts]),
        *_sorted(
            np.concatenate([part.words for part in parts]),
            owners.astype(np.int32),
            np.concatenate([part.codes for part in parts]),
        ),
    )


def merge(segments: Sequence[Segment], allocate: Allocate = np.empty) -> Segment:
    """Merge segments, in order of keys, without removed images.

    The postings are merged some words at a time, so that only the new arrays are large.

    Args:
        segments: The segments.
        allocate: Allocates the arrays of the postings from shape and dtype, for example in a file.
    """
    firsts = np.cumsum([0, *(int(segment.alive.sum()) for segment in segments)])
    keys = np.concatenate([segment.keys[segment.alive] for segment in segments])
    sizes = np.concatenate([segment.sizes[segment.alive] for segment in segments])
    # The keys of a segment that was lost and rebuilt may lie between those of others.
    order = np.argsort(keys, kind="stable")
    rank = np.empty(len(keys), dtype=np.int32)
    rank[order] = np.arange(len(keys), dtype=np.int32)
    # The row of each image in the merged segment; -1 if it was removed.
    rows = []
    for segment, first in zip(segments, firsts, strict=False):
        row = np.full(len(segment.keys), -1, dtype=np.int32)
        row[segment.alive] = rank[first : first + int(segment.alive.sum())]
        rows.append(row)
    total = int(sizes.sum())
    codes = segments[0].codes
    merged = allocate(total, np.int32), allocate((total, *codes.shape[1:]), codes.dtype)
    words, counts, at = [np.empty(0, np.int32)], [np.empty(0, np.int64)], 0
    for begin, end in _word_ranges(segments):
        parts = [_between(segment, row, begin, end) for segment, row in zip(segments, rows, strict=True)]
        some = _sorted(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
        words.append(some[0])
        counts.append(np.diff(some[1]))
        last = at + len(some[2])
        merged[0][at:last], merged[1][at:last] = some[2], some[3]
        at = last
        release([*merged, *(array for segment in segments for array in (segment.owners, segment.codes))])
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(counts))])
    return Segment(keys[order], sizes[order], np.concatenate(words), starts, *merged)


def _word_ranges(segments: Sequence[Segment]) -> Iterator[tuple[int, int]]:
    """Ranges of words with at most about ``MERGED_AT_ONCE`` postings, unless one word has more."""
    words = np.unique(np.concatenate([segment.words for segment in segments]))
    counts = np.zeros(len(words), dtype=np.int64)
    for segment in segments:
        counts[np.searchsorted(words, segment.words)] += np.diff(segment.starts)
    part = np.cumsum(counts) // MERGED_AT_ONCE
    cuts = np.flatnonzero(np.diff(part, prepend=-1))
    for begin, end in pairwise([*cuts.tolist(), len(words)]):
        yield int(words[begin]), int(words[end - 1]) + 1


def _between(
    segment: Segment, row: NDArray[np.int32], begin: int, end: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[Any]]:
    """Words, merged rows and codes of the postings of some words, without removed images."""
    first, last = np.searchsorted(segment.words, [begin, end])
    words = np.repeat(segment.words[first:last], np.diff(segment.starts[first : last + 1]))
    postings = slice(segment.starts[first], segment.starts[last])
    owners = row[segment.owners[postings]]
    kept = owners >= 0
    return words[kept], owners[kept], segment.codes[postings][kept]


def _sorted(
    all_words: NDArray[np.int32], owners: NDArray[np.int32], codes: NDArray[Any]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32], NDArray[Any]]:
    """The words that occur, their starts, and owners and codes by word, then by owner."""
    # Sorting words with their positions is four times as fast as a sort by two keys, and suffices if the owners of
    # each word are in order already.
    sorted_words = all_words.astype(np.int64) << 32 | np.arange(len(all_words))
    sorted_words.sort()
    order = sorted_words & 0xFFFFFFFF
    sorted_words = sorted_words >> 32 << 32 | owners[order]
    if (sorted_words[1:] < sorted_words[:-1]).any():
        order = np.lexsort((owners, all_words))
        sorted_words = all_words[order].astype(np.int64) << 32
    in_order = (sorted_words >> 32).astype(np.int32)
    first = np.flatnonzero(np.diff(in_order, prepend=-1))
    return in_order[first], np.append(first, len(in_order)), owners[order], codes[order]


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
