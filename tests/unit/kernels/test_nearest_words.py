"""The native kernel and NumPy, compared with a slow implementation of the definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagefinder.kernels import mutual_nn
from imagefinder.kernels.nearest_words import NO_WORD, nearest_words, padded, panels, sums


def slow(vectors, rows, cells, centres, many):
    """``centres``: a list of ``(F, D)`` per cell, all with the same number of panels."""
    width = -(-len(centres[0]) // 32) * 32
    found = []
    for row, cell in zip(rows.tolist(), cells.tolist(), strict=True):
        ranked = []
        if 0 <= row < len(vectors) and 0 <= cell < len(centres):
            for number, centre in enumerate(centres[cell].astype(int)):
                score = int(vectors[row].astype(int) @ (centre - 128)) - int(centre @ centre) // 2
                ranked.append((-score, cell * width + number))
        ranked = sorted(ranked)[:many]
        found.append([(word, -score) for score, word in ranked] + [(-1, NO_WORD)] * (many - len(ranked)))
    return np.array(found, dtype=np.int64).reshape(len(rows), many, 2)


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dim, cells = draw(st.integers(1, 40)), draw(st.integers(1, 3))
    most = draw(st.sampled_from([2, 256]))  # few distinct values give ties
    size = draw(st.integers(1, 70))
    centres = [rng.integers(0, most, (size, dim), dtype=np.uint8) for _ in range(cells)]
    vectors = rng.integers(0, most, (draw(st.integers(0, 5)), dim), dtype=np.uint8)
    pairs = draw(st.integers(0, 12))
    rows = rng.integers(-1, len(vectors) + 1, pairs).astype(np.int32)
    return vectors, rows, np.sort(rng.integers(-1, cells + 1, pairs)).astype(np.int32), centres


@pytest.mark.parametrize("backend", ["numpy", "plain", "native"])
@settings(max_examples=40, deadline=None)
@given(case=cases(), many=st.sampled_from([1, 2, 5, 64]))
def test_words_equal_those_of_a_slow_search(backend, case, many):
    vectors, rows, cells, centres = case
    packed = [panels(of_cell) for of_cell in centres]
    stacked, halves = (np.stack(parts) for parts in zip(*packed, strict=True))
    arguments = padded(vectors), rows, cells
    with pytest.MonkeyPatch.context() as patch:
        if backend == "numpy":
            patch.setattr("imagefinder.kernels.nearest_words.backend", lambda: "numpy")
        elif mutual_nn.backend() == "numpy":
            pytest.skip("built without a compiler")
        if backend == "plain":
            from imagefinder.kernels import _native

            words, scores = (np.empty((len(rows), many), dtype=np.int32) for _ in range(2))
            _native.nearest_words(*arguments, stacked, halves, words, scores, True)
        else:
            words, scores = nearest_words(*arguments, centres=stacked, halves=halves, many=many)
    expected = slow(vectors, rows, cells, centres, many)
    np.testing.assert_array_equal(words, expected[..., 0])
    np.testing.assert_array_equal(scores, expected[..., 1])


def test_threads_give_the_same_words(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = rng.integers(0, 256, (500, 8), dtype=np.uint8)
    packed, halves = panels(rng.integers(0, 256, (100, 8), dtype=np.uint8))
    rows, cells = np.arange(500, dtype=np.int32), np.zeros(500, dtype=np.int32)
    alone = nearest_words(vectors, rows, cells, centres=packed[None], halves=halves[None], many=3)
    monkeypatch.setattr("imagefinder.kernels.nearest_words._WORTH_A_THREAD", 1000)
    monkeypatch.setattr("imagefinder.kernels.nearest_words.share", lambda: 3)
    together = nearest_words(vectors, rows, cells, centres=packed[None], halves=halves[None], many=3)
    np.testing.assert_array_equal(together, alone)


def test_arrays_that_do_not_belong_together_are_refused():
    if mutual_nn.backend() == "numpy":
        pytest.skip("built without a compiler")
    packed, halves = panels(np.zeros((3, 8), dtype=np.uint8))
    rows = np.zeros(2, dtype=np.int32)
    with pytest.raises(ValueError, match="belong together"):
        nearest_words(np.zeros((2, 12), np.uint8), rows, rows, centres=packed[None], halves=halves[None], many=1)
    with pytest.raises(ValueError, match="belong together"):
        nearest_words(np.zeros((2, 8), np.uint8), rows, rows, centres=packed[None], halves=halves[None], many=65)
    with pytest.raises(ValueError, match="integer type"):
        nearest_words(np.zeros((2, 8), np.int8), rows, rows, centres=packed[None], halves=halves[None], many=1)


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_sums_by_owner(monkeypatch, backend):
    if backend == "numpy":
        monkeypatch.setattr("imagefinder.kernels.nearest_words.backend", lambda: "numpy")
    elif mutual_nn.backend() == "numpy":
        pytest.skip("built without a compiler")
    rng = np.random.default_rng(0)
    vectors, owners = rng.integers(0, 256, (90, 7), dtype=np.uint8), rng.integers(0, 5, 90).astype(np.int32)
    found, counts = sums(vectors, owners, 6)
    assert found.tolist() == [vectors[owners == owner].astype(int).sum(axis=0).tolist() for owner in range(6)]
    assert counts.tolist() == [int((owners == owner).sum()) for owner in range(6)]
