import numpy as np
import pytest

from imagefinder.ann import spherical_kmeans


def vectors(many, dim=16, seed=0):
    return np.random.default_rng(seed).standard_normal((many, dim), dtype=np.float32)


def directions(some):
    return some / np.linalg.norm(some, axis=1, keepdims=True)


@pytest.mark.parametrize(("many", "wanted"), [(0, 5), (1, 5), (2, 5), (500, 1), (500, 30)])
def test_the_number_of_cells(many, wanted):
    centres = spherical_kmeans.train(directions(vectors(many)), wanted)
    assert len(centres) == max(1, min(wanted, many // 2))
    assert np.isfinite(centres).all()
    np.testing.assert_array_equal(centres, spherical_kmeans.train(directions(vectors(many)), wanted))


def test_cells_are_not_near_to_everything():
    # Many more topics than cells, and vectors of unequal lengths.
    lengths = np.exp(0.5 * np.random.default_rng(3).standard_normal((6000, 1), dtype=np.float32))
    sample = lengths * (vectors(1500, 128)[np.arange(6000) % 1500] + 0.7 * vectors(6000, 128, seed=1))
    centres = spherical_kmeans.train(directions(sample), 60)
    assert np.allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)
    cells = spherical_kmeans.nearest(sample, centres)
    np.testing.assert_array_equal(cells, spherical_kmeans.nearest(directions(sample), centres))
    assert np.bincount(cells, minlength=60).max() < 200


def test_a_zero_vector_has_no_direction():
    assert np.isfinite(spherical_kmeans.train(np.zeros((10, 8), dtype=np.float32), 3)).all()


def test_the_nearest_cell_equals_that_of_a_full_search(monkeypatch):
    some, centres = vectors(50, seed=2), vectors(9)
    far = ((some[:, None] - centres[None]) ** 2).sum(axis=2)
    np.testing.assert_array_equal(spherical_kmeans.nearest(some, centres), far.argmin(axis=1))
    monkeypatch.setattr(spherical_kmeans, "_DISTANCES", 20)
    np.testing.assert_array_equal(spherical_kmeans.nearest(some, centres), far.argmin(axis=1))
