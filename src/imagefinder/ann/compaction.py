"""Compaction: which segments to rewrite or merge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imagefinder.ann.segment import Segment

SEGMENT_BYTES = 256 << 20
"""Maximum size of new and merged segments in bytes, which bounds the memory that indexing needs."""

MOST_SMALL = 8
"""Maximum number of small segments (under a quarter of the maximum size) before they are merged."""

GONE = 0.3
"""A segment is rewritten if a larger fraction of its images has been removed."""


def worn(segments: Sequence[Segment]) -> list[Segment]:
    """The segments to rewrite or merge."""
    sparse = [s for s in segments if (~s.alive).sum() > GONE * len(s.keys)]
    small = [s for s in segments if s.nbytes < SEGMENT_BYTES // 4 and s not in sparse]
    return sparse + (small if len(small) > MOST_SMALL else [])


def groups(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Group segments for merging, in order of their first keys, within the maximum size."""
    group: list[Segment] = []
    for segment in sorted(segments, key=lambda segment: int(segment.keys[0]) if len(segment.keys) else 0):
        if group and sum(one.nbytes for one in group) + segment.nbytes > SEGMENT_BYTES:
            yield group
            group = []
        group.append(segment)
    if group:
        yield group
