import numpy as np
import pytest

from imagefinder.ann import compaction
from imagefinder.ann.segment import Postings, build

IMAGE_BYTES = 8 + 8 + 4 + 8  # key, size, owner, code
WORD_BYTES = 4 + 8 + 8  # of a segment with one word: number, and start and end of its postings


def segment(first, count, gone=0):
    rows = np.arange(count, dtype=np.int32)
    postings = Postings(rows * 0, rows, np.zeros(count, np.uint64), np.ones(count, dtype=np.int64))
    made = build(np.arange(first, first + count, dtype=np.int64), [postings])
    made.alive[:gone] = False
    return made


@pytest.fixture(autouse=True)
def limits(monkeypatch):
    monkeypatch.setattr(compaction, "SEGMENT_BYTES", 100 * IMAGE_BYTES + WORD_BYTES)
    monkeypatch.setattr(compaction, "LARGEST_BYTES", 2000 * IMAGE_BYTES)


def test_a_segment_with_many_removed_images_is_rewritten():
    whole, sparse = segment(0, 50, gone=15), segment(100, 50, gone=16)
    assert compaction.worn([whole, sparse]) == [sparse]


@pytest.mark.parametrize(("size", "other"), [(10, 50), (50, 300), (300, 10)])
def test_many_segments_of_one_size_class_are_merged(size, other):
    of_class = [segment(n * 1000, size) for n in range(compaction.MOST_SMALL + 1)]
    others = [segment(100_000 + n * 1000, other) for n in range(compaction.MOST_SMALL)]
    assert compaction.worn([*of_class[1:], *others]) == []
    assert compaction.worn([*of_class, *others]) == of_class


def test_the_largest_segments_are_not_merged():
    assert compaction.worn([segment(n * 2000, 1100) for n in range(compaction.MOST_SMALL + 1)]) == []


def test_groups_are_in_order_of_keys_and_not_too_large():
    segments = [segment(first, 600) for first in (6000, 0, 2000, 4000)]
    groups = [[int(one.keys[0]) for one in group] for group in compaction.groups(segments)]
    assert groups == [[0, 2000, 4000], [6000]]
    assert [len(group) for group in compaction.groups([segment(0, 2500), segment(4000, 1)])] == [1, 1]
    assert list(compaction.groups([])) == []
