import numpy as np
import pytest

from imagefinder.ann import compaction
from imagefinder.ann.segment import Postings, build

IMAGE_BYTES = 8 + 8 + 4 + 8  # key, size, owner, code


def segment(first, count, gone=0):
    rows = np.arange(count, dtype=np.int32)
    postings = Postings(rows * 0, rows, np.zeros(count, np.uint64), np.ones(count, dtype=np.int64))
    made = build(np.arange(first, first + count, dtype=np.int64), [postings])
    made.alive[:gone] = False
    return made


@pytest.fixture(autouse=True)
def limit(monkeypatch):
    monkeypatch.setattr(compaction, "SEGMENT_BYTES", 100 * IMAGE_BYTES)


def test_a_segment_with_many_removed_images_is_rewritten():
    whole, sparse = segment(0, 50, gone=15), segment(100, 50, gone=16)
    assert compaction.worn([whole, sparse]) == [sparse]


def test_many_small_segments_are_merged():
    small = [segment(n * 10, 10) for n in range(compaction.MOST_SMALL + 1)]
    large = segment(1000, 50)
    assert compaction.worn([*small[1:], large]) == []
    assert compaction.worn([*small, large]) == small


def test_groups_are_in_order_of_keys_and_not_too_large():
    segments = [segment(first, 30) for first in (300, 0, 100, 200)]
    groups = [[int(one.keys[0]) for one in group] for group in compaction.groups(segments)]
    assert groups == [[0, 100, 200], [300]]
    assert [len(group) for group in compaction.groups([segment(0, 150), segment(200, 1)])] == [1, 1]
    assert list(compaction.groups([])) == []
