import numpy as np
import pytest

from imagefinder.ann import ivf_sq8
from imagefinder.ann.ivf_sq8 import IvfSq8
from imagefinder.ann.segment import build
from imagefinder.core.features import FeatureSpec, GlobalFeatures


def vectors(seed, count, dim, common=0.0):
    """Vectors of length 1, with a common component of this weight."""
    rng = np.random.default_rng(seed)
    made = rng.standard_normal((count, dim)) + common * np.random.default_rng(1).standard_normal(dim)
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def indexed(stored, parts=1):
    """The codec, its model, and the stored vectors in this many segments."""
    codec = IvfSq8(FeatureSpec("global", stored.shape[1], "float32"))
    model = codec.train(GlobalFeatures(stored), len(stored), len(stored))
    segments = []
    for rows in np.array_split(np.arange(len(stored)), parts):
        coded = codec.encode(model, GlobalFeatures(stored[rows]))
        segments.append(build(rows.astype(np.int64), [coded]))
    return codec, model, segments


def scores(codec, model, segments, query):
    """Row -> score of the vectors that were scored."""
    (found,) = codec.score(model, GlobalFeatures(query[None]), segments)
    return {
        int(segment.keys[row]): score
        for some, segment in zip(found, segments, strict=True)
        for row, score in zip(some.rows.tolist(), some.scores.tolist(), strict=True)
    }


@pytest.mark.parametrize("common", [0, 1, 10, 100])
def test_scores_approximate_cosines_with_a_common_component(common):
    stored = vectors(0, 600, 64, common)
    query = vectors(2, 1, 64, common)[0]
    estimated = scores(*indexed(stored), query)
    exact = stored @ query
    assert sorted(estimated) == list(range(600))
    # Compare the differences of the cosines: with a large common component, all of them are near 1.
    error = np.abs(np.array([estimated[row] for row in range(600)]) - exact)
    assert error.max() < 0.1 * exact.std()


def test_the_common_component_is_not_dropped(monkeypatch):
    """With fewer directions than dimensions, the component along the mean matters for every query."""
    monkeypatch.setattr(ivf_sq8, "DIRECTIONS", 16)
    # Vectors vary strongly in fifteen directions, and in a sixteenth one more than along the mean.
    spread = np.where(np.arange(64) < 15, 0.12, np.where(np.arange(64) == 15, 0.06, 0.001))
    made = np.random.default_rng(0).standard_normal((2000, 64)) * spread
    made[:, -1] += 1 + 0.1 * np.random.default_rng(1).standard_normal(2000)
    stored = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
    estimated = scores(*indexed(stored), stored[3])
    error = np.array([estimated[row] for row in range(2000)]) - stored @ stored[3]
    assert error.std() < 0.01


@pytest.mark.parametrize("dim", [1, 2, 255, 256, 300])
def test_there_are_at_most_as_many_directions_as_dimensions(dim):
    codec, model, segments = indexed(vectors(0, 700, dim, 1))
    assert model["rotation"].shape == (dim, min(dim, ivf_sq8.DIRECTIONS))
    assert np.allclose(model["rotation"].T @ model["rotation"], np.eye(min(dim, 256)), atol=1e-4)
    assert len(scores(codec, model, segments, vectors(2, 1, dim)[0])) == 700


@pytest.mark.parametrize("parts", [1, 3])
def test_all_of_few_vectors_are_scored(monkeypatch, parts):
    monkeypatch.setattr(ivf_sq8, "VISITED", 1)
    monkeypatch.setattr(ivf_sq8, "SCORED", 2600)
    stored = vectors(0, 2600, 16)
    codec, model, segments = indexed(stored, parts)
    assert len(model["centres"]) > 5
    assert len(scores(codec, model, segments, stored[7])) == 2600


@pytest.mark.parametrize("parts", [1, 3])
def test_nearest_cells_are_scored_until_there_are_enough_vectors(monkeypatch, parts):
    monkeypatch.setattr(ivf_sq8, "VISITED", 1)
    monkeypatch.setattr(ivf_sq8, "SCORED", 900)
    stored = vectors(0, 2600, 16)
    codec, model, segments = indexed(stored, parts)
    seen = scores(codec, model, segments, stored[7])
    assert 7 in seen
    cells = np.arange(len(model["centres"]), dtype=np.int32)
    ranges = [segment.ranges(cells) for segment in segments]
    largest = sum(ends - begins for begins, ends in ranges).max()
    assert 900 <= len(seen) < 900 + largest
    monkeypatch.setattr(ivf_sq8, "VISITED", len(model["centres"]))
    assert len(scores(codec, model, segments, stored[7])) == 2600


def test_an_empty_store_gives_no_error():
    codec, model, segments = indexed(np.empty((0, 8), dtype=np.float32))
    assert scores(codec, model, segments, vectors(0, 1, 8)[0]) == {}
    assert codec.score(model, GlobalFeatures(vectors(0, 1, 8)), []) == [[]]
