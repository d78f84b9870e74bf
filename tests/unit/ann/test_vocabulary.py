import numpy as np
import pytest

from imagefinder.ann import vocabulary
from imagefinder.ann.vocabulary import Vocabulary
from imagefinder.kernels.nearest_words import PADDING, panels


def vectors(many, dim=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (many, dim), dtype=np.uint8)


def used(words):
    """The numbers of the words that exist."""
    return np.flatnonzero(words.halves.reshape(-1) != PADDING).astype(np.int32)


def far(some, words, dim=16):
    """Squared distances to the words that exist, by number."""
    apart = some[:, None].astype(int) - words.centres(used(words))[None, :, :dim].astype(int)
    return (apart**2).sum(axis=2)


def made(cells, fine):
    packed, halves = (np.stack(parts) for parts in zip(*(panels(one) for one in fine), strict=True))
    return Vocabulary(*(array[None] for array in panels(cells)), packed, halves)


@pytest.mark.parametrize(("many", "wanted"), [(0, 5), (1, 5), (2, 5), (500, 1), (500, 30), (3000, 1200)])
@pytest.mark.parametrize("dim", [16, 18])
def test_the_number_of_words(many, wanted, dim):
    words = vocabulary.train(vectors(many, dim), wanted)
    number = len(used(words))
    assert 1 <= number <= min(wanted, max(1, many))
    assert number > 0.7 * min(wanted, many // 2)
    again = vocabulary.train(vectors(many, dim), wanted)
    np.testing.assert_array_equal(words.fine, again.fine)
    np.testing.assert_array_equal(words.halves, again.halves)


def test_words_are_near_the_vectors():
    noise = np.random.default_rng(1).integers(-3, 4, (1200, 16))
    sample = np.clip(vectors(12)[np.arange(1200) % 12] + noise, 0, 255).astype(np.uint8)
    words = vocabulary.train(sample, 40)
    # Much closer to a word than to the next cluster.
    assert far(sample, words).min(axis=1).max() < 16 * 36


def test_blocks_do_not_change_the_words(monkeypatch):
    sample = vectors(700)
    words = vocabulary.train(sample, 20)
    assigned = words.assign(sample)
    monkeypatch.setattr(vocabulary, "_BLOCK", 100)
    np.testing.assert_array_equal(vocabulary.train(sample, 20).fine, words.fine)
    np.testing.assert_array_equal(words.assign(sample), assigned)


def test_level_one_is_trained_on_a_part_of_a_large_sample(monkeypatch):
    monkeypatch.setattr(vocabulary, "_COARSE_SAMPLE", 10)
    words = vocabulary.train(vectors(2000), 100)
    assert len(used(words)) == 100


def test_the_nearest_words_equal_those_of_a_full_search():
    words = made(vectors(9), [vectors(7, seed=cell + 1) for cell in range(9)])
    some = vectors(50, seed=2)
    # Half of an odd squared length is rounded down, so compare distances.
    expected = np.sort(far(some, words), axis=1)
    found = words.nearest(some, 3, cells=9)
    places = np.searchsorted(used(words), found)
    np.testing.assert_allclose(np.take_along_axis(far(some, words), places, axis=1), expected[:, :3], atol=1)
    all_of_them = words.nearest(some, 64, cells=9)
    assert all_of_them.shape == (50, 64)
    assert sorted(all_of_them[0, :63].tolist()) == used(words).tolist()
    assert (all_of_them[:, 63] == -1).all()


def test_few_cells_approximate_the_nearest_words():
    words = made(vectors(9), [vectors(7, seed=cell + 1) for cell in range(9)])
    some = vectors(50, seed=2)
    cells = words.nearest(some, 5, cells=1) // words.halves.shape[1]
    apart = ((some[:, None].astype(int) - vectors(9)[None].astype(int)) ** 2).sum(axis=2)
    np.testing.assert_array_equal(cells, np.repeat(apart.argmin(axis=1)[:, None], 5, 1))
    # The assigned word of a vector is the first of its nearest words.
    np.testing.assert_array_equal(words.assign(some), words.nearest(some, 3, cells=1)[:, 0])


def test_centres_are_those_of_the_words():
    centres = vectors(40, 18)
    words = made(vectors(1, 18), [centres])
    np.testing.assert_array_equal(words.centres(np.array([39, 0, 17], np.int32))[:, :18], centres[[39, 0, 17]])
