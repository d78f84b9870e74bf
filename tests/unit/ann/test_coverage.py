"""Segments and waiting keys stay consistent with any changes of the store."""

import numpy as np
import pytest

from imagefinder.ann.coverage import Coverage
from imagefinder.ann.segment import Postings, build
from imagefinder.core.records import NO_FEATURES, Changes


def keys(*values):
    return np.array(values, dtype=np.int64)


def segment(*values):
    count = len(values)
    rows = np.arange(count, dtype=np.int32)
    return build(keys(*values), [Postings(rows * 0, rows, rows, np.ones(count, dtype=np.int64))])


def listing(cursor, *new):
    return Changes(cursor, keys(*new), keys(*new) * 10, keys(), complete=True)


def changes(cursor, *new, gone=()):
    return Changes(cursor, keys(*new), keys(*new) * 10, keys(*gone))


def state(coverage):
    covered = [s.keys[s.alive].tolist() for s in coverage.segments]
    assert coverage.waiting_sizes.tolist() == [10 * key for key in coverage.waiting.tolist()]
    return covered, coverage.waiting.tolist(), coverage.cursor


def test_the_first_update_uses_all_keys():
    coverage = Coverage([segment(1, 2, 5)])
    assert coverage.cursor is None
    coverage.apply(listing("7", 2, 5, 8, 9))
    assert state(coverage) == ([[2, 5]], [8, 9], "7")
    assert coverage.gone.tolist() == [1]


def test_later_changes_are_added_and_removed_images_masked():
    coverage = Coverage([segment(1, 2)])
    coverage.apply(listing("a", 1, 2, 3))
    coverage.apply(changes("b", 4))
    assert state(coverage) == ([[1, 2]], [3, 4], "b")
    coverage.apply(changes("c", 6, gone=[1, 3, 77]))
    assert state(coverage) == ([[2]], [4, 6], "c")
    coverage.apply(changes("d"))
    assert state(coverage) == ([[2]], [4, 6], "d")
    coverage.apply(NO_FEATURES)
    assert state(coverage) == ([[]], [], "")


def test_repeated_keys_are_dropped_and_late_ones_put_in_order():
    """As stores with concurrent writers report them."""
    coverage = Coverage([segment(1, 2)])
    coverage.apply(listing("a", 1, 2, 5, 9))
    coverage.apply(changes("b", 2, 5, 7))
    coverage.apply(changes("c", 3, 7, 9, gone=[5, 5]))
    coverage.apply(changes("d", 3, gone=[5, 2, 2]))
    assert state(coverage) == ([[1]], [3, 7, 9], "d")


def test_a_later_listing_brings_back_what_was_removed():
    """An earlier state of the store was restored."""
    coverage = Coverage([segment(1, 2), segment(4)])
    coverage.apply(listing("a", 1, 2, 4))
    coverage.apply(changes("b", 6, gone=[2]))
    coverage.apply(listing("c", 1, 2, 3))
    assert state(coverage) == ([[1, 2], []], [3], "c")


def test_masking_does_not_modify_arrays_in_use():
    coverage = Coverage([segment(1, 2)])
    coverage.apply(listing("1", 1, 2))
    before = coverage.segments[0].alive
    coverage.apply(changes("2", gone=[2]))
    assert before.tolist() == [True, True]
    assert coverage.segments[0].alive.tolist() == [True, False]


def test_absorbing_clears_all_waiting_keys():
    coverage = Coverage()
    coverage.apply(listing("1", 1, 2, 3))
    coverage.absorb([segment(1, 3)])
    assert state(coverage) == ([[1, 3]], [], "1")


@pytest.mark.parametrize("merged", [[], [segment(3, 4)]])
def test_replacing_keeps_the_order_of_keys(merged):
    first, second, third = segment(1), segment(3), segment(9)
    coverage = Coverage([first, third, second])
    coverage.apply(listing("1", 1, 3, 4, 9))
    coverage.absorb([])
    coverage.replace([second], merged)
    assert [s.keys[0] for s in coverage.segments] == ([1, 3, 9] if merged else [1, 9])
