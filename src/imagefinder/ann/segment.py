"""A part of an index: the codes of some images in order of words. Never changed, only replaced."""

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
    """Features as words and codes, in order of images.

    Attributes:
        words: ``(P,)`` int32.
        owners: ``(P,)`` int32, the image of each code.
        codes: ``(P,)`` or ``(P, c)``.
        sizes: ``(B,)`` int64, codes of each image.
    """

    words: NDArray[np.int32]
    owners: NDArray[np.int32]
    codes: NDArray[Any]
    sizes: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class SegmentScores:
    """How images of one segment score for a query; those left out have nothing in common with it.

    Attributes:
        rows: ``(F,)``, of its keys, each once.
        scores: ``(F,)`` float64; higher is better.
    """

    rows: NDArray[np.int64] | NDArray[np.int32]
    scores: NDArray[np.float64]


@dataclass(slots=True, eq=False)
class Segment:
    """Codes of some images, word by word, within a word in order of images.

    Attributes:
        keys: ``(B,)`` int64, of the features, ascending.
        sizes: ``(B,)`` int64, codes of each image.
        starts: ``(W + 1,)`` int64: word ``w`` owns the postings ``starts[w]:starts[w + 1]``.
        owners: ``(P,)`` int32, rows of ``keys``.
        codes: ``(P,)`` or ``(P, c)``.
        alive: ``(B,)`` bool, whether the features are still there.
        name: Of its file; empty without one.
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
        """Bytes of its arrays."""
        return sum(array.nbytes for array in self.arrays().values())

    def arrays(self) -> Arrays:
        """What is written to its file."""
        return {
            "keys": self.keys,
            "sizes": self.sizes,
            "starts": self.starts,
            "owners": self.owners,
            "codes": self.codes,
        }

    def is_sound(self, words: int) -> bool:
        """Whether the arrays belong together."""
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
    """A segment of images that were coded in several parts, in order of keys."""
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
    """One segment of several, in order of keys, without the images that are gone."""
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
    # The keys of a segment that was lost and made again lie between those of others.
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
    """Without segments that repeat keys of those before."""
    kept: list[Segment] = []
    seen: Keys = np.empty(0, dtype=np.int64)
    for segment in segments:
        if not contains(seen, segment.keys).any():
            kept.append(segment)
            seen = np.sort(np.concatenate([seen, segment.keys]))
    return kept


def contains(ordered: Keys, keys: Keys) -> NDArray[np.bool_]:
    """Which of ``keys`` are among the ascending ``ordered``."""
    if not len(ordered):
        return np.zeros(len(keys), dtype=np.bool_)
    places = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    there: NDArray[np.bool_] = ordered[places] == keys
    return there
