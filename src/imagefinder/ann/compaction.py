"""When segments are rewritten, and which of them together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imagefinder.ann.segment import Segment

SEGMENT_BYTES = 256 << 20
"""Segments are not merged beyond this, nor begun larger, so that indexing needs bounded memory."""

MOST_SMALL = 8
"""This many segments of less than a quarter of that stay side by side before they are merged."""

GONE = 0.3
"""A segment of which a larger part is gone is rewritten."""


def worn(segments: Sequence[Segment]) -> list[Segment]:
    """Segments to be rewritten, alone or with others."""
    sparse = [s for s in segments if (~s.alive).sum() > GONE * len(s.keys)]
    small = [s for s in segments if s.nbytes < SEGMENT_BYTES // 4 and s not in sparse]
    return sparse + (small if len(small) > MOST_SMALL else [])


def groups(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """The segments in order of their first keys, in groups that are not too large to be merged."""
    group: list[Segment] = []
    for segment in sorted(segments, key=lambda segment: int(segment.keys[0]) if len(segment.keys) else 0):
        if group and sum(one.nbytes for one in group) + segment.nbytes > SEGMENT_BYTES:
            yield group
            group = []
        group.append(segment)
    if group:
        yield group
