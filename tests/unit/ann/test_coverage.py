"""Segments, waiting keys, revision and counts stay consistent with any changes of the store."""

import numpy as np
import pytest

from imagefinder.ann.coverage import Coverage
from imagefinder.ann.segment import Postings, build
from imagefinder.core.records import Changes


def keys(*values):
    return np.array(values, dtype=np.int64)


def segment(*values):
    count = len(values)
    rows = np.arange(count, dtype=np.int32)
    return build(keys(*values), [Postings(rows * 0, rows, rows, np.ones(count, dtype=np.int64))])


def changes(revision, *new, alive=None):
    return Changes(revision, keys(*new), keys(*new) * 10, None if alive is None else keys(*alive))


def state(coverage):
    covered = [s.keys[s.alive].tolist() for s in coverage.segments]
    return covered, coverage.waiting.tolist(), coverage.revision, coverage.last, coverage.images


def test_the_first_update_uses_all_keys():
    coverage = Coverage([segment(1, 2, 5)])
    assert (coverage.revision, coverage.images) == (-1, 0)
    coverage.apply(changes(7, 2, 5, 8, 9))
    assert state(coverage) == ([[2, 5]], [8, 9], 7, 9, 4)
    assert coverage.waiting_sizes.tolist() == [80, 90]


def test_later_changes_are_added_and_removed_images_masked():
    coverage = Coverage([segment(1, 2)])
    coverage.apply(changes(1, 1, 2, 3))
    coverage.apply(changes(2, 4))
    assert state(coverage) == ([[1, 2]], [3, 4], 2, 4, 4)
    coverage.apply(changes(3, 6, alive=[2, 4, 6]))
    assert state(coverage) == ([[2]], [4, 6], 3, 6, 3)
    assert coverage.waiting_sizes.tolist() == [40, 60]
    coverage.apply(changes(-1, alive=[]))  # the method was removed
    assert state(coverage) == ([[]], [], -1, 6, 0)


def test_masking_does_not_modify_arrays_in_use():
    coverage = Coverage([segment(1, 2)])
    coverage.apply(changes(1, 1, 2))
    before = coverage.segments[0].alive
    coverage.apply(changes(2, alive=[1]))
    assert before.tolist() == [True, True]
    assert coverage.segments[0].alive.tolist() == [True, False]


def test_absorbing_clears_all_waiting_keys():
    coverage = Coverage()
    coverage.apply(changes(1, 1, 2, 3))
    coverage.absorb([segment(1, 3)])
    assert state(coverage) == ([[1, 3]], [], 1, 3, 2)


@pytest.mark.parametrize("merged", [[], [segment(3, 4)]])
def test_replacing_keeps_the_order_of_keys(merged):
    first, second, third = segment(1), segment(3), segment(9)
    coverage = Coverage([first, third, second])
    coverage.apply(changes(1, 1, 3, 4, 9))
    coverage.absorb([])
    coverage.replace([second], merged)
    assert [s.keys[0] for s in coverage.segments] == ([1, 3, 9] if merged else [1, 9])
    assert coverage.images == sum(len(s.keys) for s in coverage.segments)
