import numpy as np
import pytest

from imagefinder.ann import vocabulary
from imagefinder.ann.vocabulary import Vocabulary


def vectors(many, dim=16, seed=0):
    return np.random.default_rng(seed).standard_normal((many, dim), dtype=np.float32)


def far(some, words):
    return ((some[:, None] - words.centres[None]) ** 2).sum(axis=2)


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize(("many", "wanted"), [(0, 5), (1, 5), (2, 5), (500, 1), (500, 30)])
def test_the_number_of_words(levels, many, wanted):
    words = vocabulary.train(vectors(many), wanted, levels=levels)
    assert 1 <= words.words <= min(wanted, max(1, many))
    assert words.words > 0.7 * min(wanted, many // 2)
    assert np.isfinite(words.centres).all()
    np.testing.assert_allclose(words.halves, (words.fine**2).sum(axis=2) / 2, rtol=1e-5)
    again = vocabulary.train(vectors(many), wanted, levels=levels)
    np.testing.assert_array_equal(words.fine, again.fine)


@pytest.mark.parametrize("levels", [1, 2])
def test_words_are_near_the_vectors(levels):
    places = vectors(12) * 50
    sample = (places[np.arange(1200) % 12] + vectors(1200, seed=1)).astype(np.float32)
    words = vocabulary.train(sample, 40, levels=levels)
    # Much closer to a word than to the next cluster.
    assert far(sample, words).min(axis=1).max() < 200


def test_one_level_gives_words_of_more_equal_sizes():
    # Most vectors in one cluster, as in a collection with one main subject.
    sample = np.concatenate([vectors(3600) * 0.5, vectors(400, seed=1) + 9]).astype(np.float32)
    largest = [np.bincount(vocabulary.train(sample, 64, levels=levels).assign(sample)).max() for levels in (1, 2)]
    assert largest[0] < largest[1]


def test_spherical_words_are_not_near_to_everything():
    # Many more topics than words, and vectors of unequal lengths: means are short, and close to short vectors.
    lengths = np.exp(0.5 * np.random.default_rng(3).standard_normal((6000, 1), dtype=np.float32))
    sample = lengths * (vectors(1500, 128)[np.arange(6000) % 1500] + 0.7 * vectors(6000, 128, seed=1))
    directions = sample / np.linalg.norm(sample, axis=1, keepdims=True)
    by_direction = vocabulary.train(directions, 60, levels=1, spherical=True)
    assert np.allclose(np.linalg.norm(by_direction.centres, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(by_direction.assign(sample), by_direction.assign(directions))
    words = by_direction, vocabulary.train(sample, 60, levels=1)
    largest = [np.bincount(some.assign(sample), minlength=60).max() for some in words]
    assert largest[0] < 200 < 1000 < largest[1], largest


def test_a_zero_vector_has_no_direction():
    words = vocabulary.train(np.zeros((10, 8), dtype=np.float32), 3, levels=1, spherical=True)
    assert np.isfinite(words.centres).all()


def test_the_nearest_words_equal_those_of_a_full_search():
    words = Vocabulary.of(vectors(9), vectors(9 * 7, seed=1).reshape(9, 7, 16))
    some = vectors(50, seed=2)
    found = words.nearest(some, 3, cells=9)
    np.testing.assert_array_equal(found, np.argsort(far(some, words), axis=1)[:, :3])
    assert words.nearest(some, 1000, cells=9).shape == (50, 63)


def test_few_cells_approximate_the_nearest_words():
    words = Vocabulary.of(vectors(9), vectors(9 * 7, seed=1).reshape(9, 7, 16))
    some = vectors(50, seed=2)
    cells = words.nearest(some, 5, cells=1) // 7
    np.testing.assert_array_equal(
        cells, np.repeat(((some[:, None] - words.coarse) ** 2).sum(2).argmin(1)[:, None], 5, 1)
    )
    # The assigned word of a vector is the first of its nearest words.
    np.testing.assert_array_equal(words.assign(some), words.nearest(some, 1, cells=1)[:, 0])


def test_the_block_size_does_not_change_the_result(monkeypatch):
    sample = vectors(700)
    words = vocabulary.train(sample, 20, levels=1)
    monkeypatch.setattr(vocabulary, "_DISTANCES", 100)
    np.testing.assert_array_equal(vocabulary.train(sample, 20, levels=1).fine, words.fine)
    np.testing.assert_array_equal(words.assign(sample), words.nearest(sample, 1)[:, 0])
