"""The native kernel, compared with the definition in NumPy."""

import logging

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scenes import KNOWN, SIZE, features, keypoints, scene, similarity

from imagefinder.core.batch_contracts import MatchedPair
from imagefinder.core.features import GlobalFeatures, LocalFeatures
from imagefinder.kernels import geometry, geometry_numpy, mutual_nn

try:
    from imagefinder.kernels import _native
except ImportError:
    _native = None

needs_native = pytest.mark.skipif(_native is None, reason="the package was built without a compiler")


def pair_of(query, candidate, matches, size=SIZE, candidate_size=SIZE):
    return MatchedPair(query, candidate, matches, size, candidate_size)


def check(pairs, *, tolerance=1e-12):
    """Both implementations give the same models and inliers; returns those of the kernel."""
    found = geometry.fit_all(pairs, threads=2)
    for pair, ours in zip(pairs, found, strict=True):
        twin = geometry_numpy.fit(pair)
        assert (ours is None) == (twin is None)
        if ours is None:
            continue
        assert (ours.model, ours.usable, ours.reach) == (twin.model, twin.usable, twin.reach)
        assert ours.inliers.dtype == np.int64
        assert ours.inliers.tolist() == twin.inliers.tolist()
        np.testing.assert_allclose(ours.matrix, twin.matrix, rtol=0, atol=tolerance * np.abs(twin.matrix).max())
    return found


@pytest.mark.parametrize("model", [*KNOWN, None])
def test_equals_the_definition(model):
    matrix = KNOWN.get(model)
    pairs = [
        pair_of(*scene(matrix, true if model else 0, false, seed=seed, noise=noise))
        for seed in range(6)
        for true, false in ((0, 3), (6, 0), (12, 40), (40, 400), (200, 1000))
        for noise in (0.0, 1.0, 4.0)
    ]
    found = check(pairs)
    if model:
        assert sum(one is not None and one.model == model for one in found) >= 20


DEGENERATE = {
    "none": ((), {}),
    "on a line": (np.column_stack([np.linspace(50, 600, 60), np.full(60, 200.0)]), {}),
    "nearly on a line": (np.column_stack([np.linspace(50, 600, 60), 200 + np.sin(np.arange(60.0))]), {}),
    "one place": (np.full((60, 2), 100.0), {}),
    "two places": (np.repeat([(100.0, 100.0), (500.0, 300.0)], 30, axis=0), {}),
    "a grid": (np.stack(np.meshgrid(np.arange(10.0) * 48, np.arange(6.0) * 64), axis=-1).reshape(-1, 2), {}),
    "very far": (np.random.default_rng(0).uniform(1e6, 1e7, (60, 2)), {"size": (10**7, 10**7)}),
    "a pixel": (np.random.default_rng(1).uniform(-0.5, 0.5, (60, 2)), {"size": (1, 1)}),
    "elongated": (np.random.default_rng(2).uniform(0, (8192, 128), (60, 2)), {"size": (8192, 128)}),
    "outside float32": (np.random.default_rng(3).uniform(1e37, 3e38, (60, 2)), {"size": (640, 480)}),
}


@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_equals_the_definition_on_degenerate_positions(name, noise):
    places, sizes = DEGENERATE[name]
    size = sizes.get("size", SIZE)
    pairs = []
    for matrix in (similarity(), similarity(0.8, 30, 5, 3), similarity(1.0, 180), KNOWN["affine"]):
        query, candidate, matches = scene(
            matrix, len(places), 30, noise=noise, places=places if len(places) else None
        )
        pairs.append(pair_of(query, candidate, matches, size, size))
        pairs.append(pair_of(candidate, query, matches[:, ::-1], size, size))
    # Fits to few places are ill-conditioned, so that rounding errors are amplified.
    check(pairs, tolerance=1e-9)


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_equals_the_definition_for_other_descriptors(dtype):
    pairs = []
    for seed in range(4):
        query, candidate, matches = scene(KNOWN["affine"], 60, 300, seed=seed)
        sides = [
            LocalFeatures(one.descriptors.astype(dtype), one.keypoints, one.offsets) for one in (query, candidate)
        ]
        pairs.append(pair_of(*sides, matches))
    assert all(check(pairs))


def test_equal_descriptors_propose_in_the_order_of_their_rows():
    query, candidate, matches = scene(KNOWN["similarity"], 100, 500)
    for one in (query, candidate):
        one.descriptors[:] = one.descriptors[:1]
    assert all(check([pair_of(query, candidate, matches), pair_of(query, candidate, matches[::-1])]))


@st.composite
def rounded(draw):
    """Few matches on a coarse grid, with many equal positions, sizes, angles and descriptors."""
    count = draw(st.integers(0, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    step = draw(st.sampled_from([1, 7, 40]))
    angles = draw(st.sampled_from([1, 30, 90, 329]))
    matrix = similarity(draw(st.sampled_from([0.5, 1.0, 2.0])), draw(st.sampled_from([0, 90, 45])), 10, 20)
    sides = []
    here = np.round(keypoints(generator, count) / (step, step, 4, angles)) * (step, step, 4, angles)
    there = np.round(keypoints(generator, count) / (step, step, 4, angles)) * (step, step, 4, angles)
    true = draw(st.integers(0, count))
    there[:true, :2] = here[:true, :2] @ matrix[:2, :2].T + matrix[:2, 2]
    there[:true, 2] = here[:true, 2] * np.hypot(*matrix[:2, 0])
    there[:true, 3] = here[:true, 3]
    for places in (here, there):
        places[draw(st.integers(0, max(0, count - 1))) :][:1, 3] = -1
        sides.append(features(places, generator.integers(0, 2, (count, 3))))
    size = draw(st.sampled_from([SIZE, (1000, 120), (8192, 128)]))
    return pair_of(*sides, np.column_stack([np.arange(count)] * 2), size, size)


@settings(max_examples=150, deadline=None)
@given(rounded())
def test_equals_the_definition_where_much_is_equal(pair):
    check([pair], tolerance=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 80))
@example(0, 0)
def test_the_order_of_the_matches_does_not_matter(seed, count):
    query, candidate, matches = scene(KNOWN["affine"], count // 2, count - count // 2, seed=seed)
    shuffled = np.random.default_rng(seed).permutation(matches)
    first, second = check([pair_of(query, candidate, matches), pair_of(query, candidate, shuffled)])
    assert (first is None) == (second is None)
    if first:
        assert first.inliers.tolist() == second.inliers.tolist()
        assert first.matrix.tolist() == second.matrix.tolist()


@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_keypoints_that_are_not_finite_are_never_inliers(column, value):
    query, candidate, matches = scene(KNOWN["similarity"], 60, 60)
    query.keypoints[:20, column] = value
    candidate.keypoints[20:30, column] = value
    (found,) = geometry.fit_all([pair_of(query, candidate, matches)], threads=1)
    assert found or np.isinf(value)
    assert found is None or (found.inliers[:, 0] >= 30).all()


def test_the_number_of_threads_does_not_matter():
    pairs = [pair_of(*scene(KNOWN["homography"], 100, 300, seed=seed)) for seed in range(12)]
    one, many = (geometry.fit_all(pairs, threads=threads) for threads in (1, 5))
    assert all(one)
    for a, b in zip(one, many, strict=True):
        assert a.matrix.tolist() == b.matrix.tolist()
        assert a.inliers.tolist() == b.inliers.tolist()


def test_no_pairs():
    assert geometry.fit_all([], threads=3) == []


def test_slices_of_other_arrays_are_accepted():
    query, candidate, matches = scene(KNOWN["similarity"], 60, 60)
    wide = np.zeros((120, 7), np.float32)
    wide[:, 1:5] = query.keypoints
    other = LocalFeatures(query.descriptors, wide[:, 1:5], query.offsets)
    backwards = np.ascontiguousarray(matches[:, ::-1])[:, ::-1]
    check([pair_of(other, candidate, matches), pair_of(other, candidate, backwards)])


def test_global_features_have_no_geometry():
    vectors = GlobalFeatures(np.ones((1, 3), np.float32))
    with pytest.raises(TypeError, match="local"):
        geometry.fit_all([pair_of(vectors, vectors, np.empty((0, 2), np.int64))], threads=1)


@needs_native
@pytest.mark.parametrize("row", [(0, 60), (60, 0), (-1, 0), (0, -1), (2**62, 0)])
def test_matches_outside_the_features_are_rejected(row):
    query, candidate, _ = scene(KNOWN["similarity"], 60, 0)
    with pytest.raises(ValueError, match="outside"):
        geometry.fit_all([pair_of(query, candidate, np.array([row]))], threads=1)


@needs_native
def test_the_native_function_checks_its_arguments():
    query, candidate, matches = scene(KNOWN["similarity"], 10, 0)
    right = geometry._arrays(pair_of(query, candidate, matches))
    inliers = np.zeros(10, np.bool_)
    assert len(_native.fit([right], geometry._CONSTANTS, inliers, 1)) == 1
    for position, wrong in (
        (0, query.descriptors.astype(np.int8)),
        (0, query.descriptors[:, :7]),
        (1, query.keypoints[:5]),
        (3, candidate.keypoints.astype(np.float64)),
        (4, matches.astype(np.int32)),
        (4, matches.ravel()),
    ):
        arguments = (*right[:position], wrong, *right[position + 1 :])
        with pytest.raises(ValueError, match=r"descriptors|keypoints|matches"):
            _native.fit([arguments], geometry._CONSTANTS, inliers, 1)
    for given_ in (
        ([right], geometry._CONSTANTS[1:], inliers, 1),
        ([right], geometry._CONSTANTS, inliers[:9], 1),
        ([right, right], geometry._CONSTANTS, inliers, 1),
        ([right], geometry._CONSTANTS, inliers, 0),
    ):
        with pytest.raises(ValueError, match=r"limits|inliers"):
            _native.fit(*given_)
    with pytest.raises(TypeError):
        _native.fit([right[:9]], geometry._CONSTANTS, inliers, 1)


def test_without_a_compiler_the_definition_is_used(monkeypatch, caplog):
    pair = pair_of(*scene(KNOWN["affine"], 40, 40))
    expected = geometry_numpy.fit(pair)
    monkeypatch.setattr(mutual_nn, "_HAS_NATIVE", False)
    mutual_nn.backend.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            (found,) = geometry.fit_all([pair], threads=1)
    finally:
        mutual_nn.backend.cache_clear()
    assert found.matrix.tolist() == expected.matrix.tolist()
    assert "compiler" in caplog.text


# -- the definition ------------------------------------------------------------------------------------------


def explained_by(proposing, other):
    """Whether one match explains another, written out: each is (here, there, octaves, turn, reach in there)."""
    scale, radians = 2 ** proposing[2], np.deg2rad(proposing[3])
    x, y = other[0][0] - proposing[0][0], other[0][1] - proposing[0][1]
    step = (
        scale * (np.cos(radians) * x - np.sin(radians) * y),
        scale * (np.sin(radians) * x + np.cos(radians) * y),
    )
    off = np.hypot(proposing[1][0] + step[0] - other[1][0], proposing[1][1] + step[1] - other[1][1])
    turned = abs((other[3] - proposing[3] + 180) % 360 - 180)
    return (
        abs(other[2] - proposing[2]) <= geometry_numpy.MAX_OCTAVES
        and turned <= geometry_numpy.MAX_ANGLE
        and off <= other[4] + geometry_numpy.SLACK * np.hypot(*step)
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [0, 1, 40, geometry_numpy.PROPOSALS + 30])
def test_proposals_explain_the_right_matches(seed, count):
    query, candidate, matches = scene(similarity(1.3, 40, 20, -10), count // 4, count - count // 4, seed=seed)
    pairs = geometry_numpy._pairs(pair_of(query, candidate, matches))
    rows = list(zip(pairs.here, pairs.there, pairs.octaves, pairs.turns, pairs.reach_there, strict=True))
    all_of = np.array([[explained_by(a, b) for b in rows] for a in rows[: geometry_numpy.PROPOSALS]], dtype=bool)
    best = []
    for number in sorted(range(len(all_of)), key=lambda number: -all_of[number].sum()):
        if all_of[number].sum() < geometry_numpy.NEEDED["similarity"] or len(best) == geometry_numpy.REFINED:
            break
        if not any(mask[number] for mask in best):
            best.append(all_of[number])
    found = geometry_numpy._proposed(pairs)
    assert [mask.tolist() for mask in found] == [mask.tolist() for mask in best]
    assert bool(found) == (count > 10)
