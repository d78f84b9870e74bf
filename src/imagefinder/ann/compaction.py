"""Compaction: which segments to rewrite or merge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imagefinder.ann.segment import Segment

SEGMENT_BYTES = 256 << 20
"""Maximum size of new segments in bytes, which bounds the memory that indexing needs."""

LARGEST_BYTES = 4 << 30
"""Maximum size of merged segments in bytes; merging one needs twice as much free disk space."""

MOST_SMALL = 8
"""Maximum number of segments of one size class before they are merged.

Each query reads a part of every segment, so a few large ones are faster than many small ones.
"""

_SIZE_CLASS = 8
"""Ratio of the limits of neighbouring size classes; the first limit is a quarter of ``SEGMENT_BYTES``."""

GONE = 0.3
"""A segment is rewritten if a larger fraction of its images has been removed."""


def worn(segments: Sequence[Segment]) -> list[Segment]:
    """The segments to rewrite or merge."""
    sparse = [s for s in segments if (~s.alive).sum() > GONE * len(s.keys)]
    found, limit, smaller = list(sparse), SEGMENT_BYTES // 4, 0
    while smaller < LARGEST_BYTES // 2:
        some = [s for s in segments if smaller <= s.nbytes < min(limit, LARGEST_BYTES // 2) and s not in sparse]
        found += some if len(some) > MOST_SMALL else []
        smaller, limit = limit, limit * _SIZE_CLASS
    return found


def groups(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Group segments for merging, in order of their first keys, within the maximum size."""
    group: list[Segment] = []
    for segment in sorted(segments, key=lambda segment: int(segment.keys[0]) if len(segment.keys) else 0):
        if group and sum(one.nbytes for one in group) + segment.nbytes > LARGEST_BYTES:
            yield group
            group = []
        group.append(segment)
    if group:
        yield group
