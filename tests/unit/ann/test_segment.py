"""Segments and their merging, compared with a sort of all postings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.ann import segment as segments_module
from imagefinder.ann.segment import Postings, build, merge

WORDS = 7


def postings(rng, images):
    sizes = rng.integers(0, 5, images)
    owners = np.repeat(np.arange(images, dtype=np.int32), sizes)
    words = rng.integers(0, WORDS, len(owners)).astype(np.int32)
    return Postings(words, owners, rng.integers(0, 2**63, len(owners), dtype=np.uint64), sizes.astype(np.int64))


def listed(segment):
    """(word, key, code) of all postings, in order."""
    words = np.repeat(segment.words, np.diff(segment.starts))
    keys = segment.keys[segment.owners]
    return list(zip(words.tolist(), keys.tolist(), segment.codes.tolist(), strict=True))


def made(seed, keys):
    return build(np.array(keys, dtype=np.int64), [postings(np.random.default_rng(seed), len(keys))])


def test_postings_are_in_order_of_words_then_images():
    rng = np.random.default_rng(0)
    parts = [postings(rng, 4), postings(rng, 0), postings(rng, 5)]
    segment = build(np.arange(20, 29), parts)
    expected = [
        (int(word), 20 + first + int(owner), int(code))
        for part, first in zip(parts, (0, 4, 4), strict=True)
        for word, owner, code in zip(part.words, part.owners, part.codes, strict=True)
    ]
    assert listed(segment) == sorted(expected, key=lambda posting: posting[:2])  # equal ones stay in order
    assert segment.is_sound(WORDS)
    assert not segment.is_sound(int(segment.words[-1]))


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=4),
    st.integers(0, 99),
    st.booleans(),
    st.sampled_from([1, 4, 99]),
)
def test_merged_postings_equal_those_of_the_images_that_exist(counts, seed, mixed, at_once):
    rng = np.random.default_rng(seed)
    keys = np.arange(sum(counts))
    if mixed:  # keys of one segment lie between those of another
        rng.shuffle(keys)
    segments = [made(seed + n, sorted(part)) for n, part in enumerate(np.split(keys, np.cumsum(counts)[:-1]))]
    expected = []
    for one in segments:
        one.alive = rng.random(len(one.keys)) < 0.7
        alive = set(one.keys[one.alive].tolist())
        expected += [posting for posting in listed(one) if posting[1] in alive]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments_module, "MERGED_AT_ONCE", at_once)
        merged = merge(segments)
    assert listed(merged) == sorted(expected, key=lambda posting: posting[:2])
    assert merged.is_sound(WORDS)
    assert merged.keys.tolist() == sorted(key for one in segments for key in one.keys[one.alive].tolist())


def test_ranges_of_words_that_occur_and_of_others():
    segment = build(np.array([5]), [Postings(*(np.array(a) for a in ([3, 1, 3], [0, 0, 0], [7, 8, 9], [3])))])
    begins, ends = segment.ranges(np.arange(5, dtype=np.int32))
    assert (ends - begins).tolist() == [0, 1, 0, 2, 0]
    assert segment.codes[begins[3] : ends[3]].tolist() == [7, 9]
    empty = build(np.empty(0, np.int64), [Postings(*(np.empty(0, np.int32) for _ in range(4)))])
    assert [bounds.tolist() for bounds in empty.ranges(np.arange(2, dtype=np.int32))] == [[0, 0], [0, 0]]
