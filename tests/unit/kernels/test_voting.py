"""The native kernel and NumPy, compared with a slow implementation of the definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagefinder.kernels import mutual_nn, voting

WEIGHTS = np.arange(65, 0, -1, dtype=np.int64) ** 2


def slow(starts, owners, codes, words, query_codes, rarities, images):
    found = [0] * images

    def distance(p, q):
        return (int(codes[p]) ^ int(query_codes[q])).bit_count()

    for word in range(len(starts) - 1):
        mine = [q for q in range(len(words)) if words[q] == word]
        for image in range(images):
            theirs = [p for p in range(starts[word], starts[word + 1]) if owners[p] == image]
            for q in mine:
                best = min(theirs, key=lambda p: (distance(p, q), p), default=None)
                if best is not None and q == min(mine, key=lambda other: (distance(best, other), other)):
                    found[image] += int(WEIGHTS[distance(best, q)]) * int(rarities[word])
    return found


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    words, images = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    postings, size = draw(st.integers(0, 40)), draw(st.integers(0, 12))
    # Few distinct codes, so that there are ties.
    kinds = rng.integers(0, 2**64, draw(st.integers(1, 6)), dtype=np.uint64)
    of_word, owners = rng.integers(0, words, postings), rng.integers(0, images, postings).astype(np.int32)
    order = np.lexsort((owners, of_word))
    starts = np.searchsorted(of_word[order], np.arange(words + 1)).astype(np.int64)
    return (
        starts,
        owners[order],
        rng.choice(kinds, postings),
        np.sort(rng.integers(0, words, size)).astype(np.int32),
        rng.choice(kinds, size),
        rng.integers(1, 5, words),
        images,
    )


@given(cases())
@settings(deadline=None, max_examples=150)
def test_both_backends_equal_the_definition(case):
    starts, owners, codes, words, query_codes, rarities, images = case
    expected = slow(*case)
    given_ = {"weights": WEIGHTS, "rarities": rarities, "images": images}
    assert voting.votes(starts, owners, codes, words, query_codes, **given_).tolist() == expected
    found = np.zeros(images, dtype=np.int64)
    voting._votes_numpy(starts, owners, codes, words, query_codes, WEIGHTS, rarities, found)
    assert found.tolist() == expected
    if mutual_nn.backend() != "numpy":
        from imagefinder.kernels import _native

        found[:] = 0
        _native.vote(starts, owners, codes, words, query_codes, WEIGHTS, rarities, found, True)
        assert found.tolist() == expected


@given(st.integers(0, 2**32 - 1), st.integers(0, 64), st.integers(1, 3))
@settings(deadline=None, max_examples=40)
def test_many_postings_and_weights(seed, reach, threads):
    # More postings than one block, images with most of a word, and several threads.
    rng = np.random.default_rng(seed)
    words, images, postings, size = 3, int(rng.integers(1, 40)), 4000, 60
    kinds = rng.integers(0, 2**64, 12, dtype=np.uint64)
    near = np.uint64(1) << rng.integers(0, 64, (postings, 3), dtype=np.uint64)
    codes = rng.choice(kinds, postings) ^ np.bitwise_xor.reduce(near, axis=1)
    of_word, owners = rng.integers(0, words, postings), rng.integers(0, images, postings).astype(np.int32)
    order = np.lexsort((owners, of_word))
    starts = np.searchsorted(of_word[order], np.arange(words + 1)).astype(np.int64)
    query_words = np.sort(rng.integers(0, words, size)).astype(np.int32)
    query_codes, rarities = rng.choice(kinds, size), rng.integers(1, 5, words)
    weights = np.where(np.arange(65) <= reach, WEIGHTS, 0)
    expected = np.zeros(images, dtype=np.int64)
    voting._votes_numpy(starts, owners[order], codes, query_words, query_codes, weights, rarities, expected)
    given_ = {"weights": weights, "rarities": rarities, "images": images, "threads": threads}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voting, "_WORTH_A_THREAD", 1000)
        found = voting.votes(starts, owners[order], codes, query_words, query_codes, **given_)
    assert found.tolist() == expected.tolist()


def test_indices_out_of_range_are_ignored():
    starts, codes = np.array([0, 2, 9], np.int64), np.array([7, 7], np.uint64)
    owners = np.array([0, 5], np.int32)
    words, query_codes = np.array([-1, 0, 1, 2], np.int32), np.full(4, 7, np.uint64)
    given_ = {"weights": WEIGHTS, "rarities": np.ones(2, np.int64), "images": 3}
    assert voting.votes(starts, owners, codes, words, query_codes, **given_).tolist() == [65**2, 0, 0]


@pytest.mark.skipif(mutual_nn.backend() == "numpy", reason="built without a compiler")
@pytest.mark.parametrize("place", range(8))
def test_arrays_of_another_dtype_are_rejected(place):
    from imagefinder.kernels import _native

    arrays = [
        np.zeros(2, np.int64),
        np.zeros(0, np.int32),
        np.zeros(0, np.uint64),
        np.zeros(0, np.int32),
        np.zeros(0, np.uint64),
        WEIGHTS,
        np.ones(1, np.int64),
        np.zeros(1, np.int64),
    ]
    _native.vote(*arrays)
    with pytest.raises(ValueError, match="must be of the right integer type"):
        _native.vote(*[array.astype(np.float32) if i == place else array for i, array in enumerate(arrays)])
    if place != 7:
        with pytest.raises(ValueError, match="lengths that belong together"):
            _native.vote(*[np.zeros(9, array.dtype) if i == place else array for i, array in enumerate(arrays)])
