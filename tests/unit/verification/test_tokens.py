import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagefinder.core.features import GlobalFeatures, LocalFeatures
from imagefinder.extractors.network import token_keypoints
from imagefinder.matching.mutual_nn import MutualNNMatcher
from imagefinder.verification.tokens import TokenVerifier

VERIFIER, MATCHER = TokenVerifier(), MutualNNMatcher()
GRID, DIM = 14, 32
SIZE = (280, 420)  # cells of 20 x 30 pixels


def field(seed):
    """Descriptors of a scene at positions ``(x, y)`` in cells; neighbouring ones are similar."""
    generator = np.random.default_rng(seed)
    waves, phases = generator.normal(0, 0.7, (2, DIM)), generator.uniform(0, 2 * np.pi, DIM)
    return lambda places: np.sin(places @ waves + phases)


def picture(scene, *, scale=1.0, shift=(0.0, 0.0), size=SIZE, noise=0.05, seed=0):
    """Tokens of an image that shows the scene at ``shift + scale * position``, class token first."""
    generator = np.random.default_rng(seed)
    row, column = np.divmod(np.arange(GRID * GRID), GRID)
    patches = scene(shift + scale * np.column_stack([column, row])) + generator.normal(0, noise, (GRID**2, DIM))
    descriptors = np.vstack([np.full(DIM, 5.0), patches]).astype(np.float32)
    return LocalFeatures(descriptors, token_keypoints(size[1], size[0], GRID**2 + 1), np.array([0, GRID**2 + 1]))


def verify(query, candidate, matches=None, query_size=SIZE, candidate_size=SIZE):
    if matches is None:
        matches = MATCHER.matches(query, candidate)
    sizes = {"query_size": query_size, "candidate_size": candidate_size}
    found = VERIFIER.verify(query, candidate, matches, **sizes)
    if found is None:
        return None
    inliers = found.inliers
    assert len(inliers) == found.evidence.inliers
    assert inliers.dtype == np.int64
    assert set(map(tuple, inliers.tolist())) <= set(map(tuple, matches.tolist()))
    assert inliers.tolist() == sorted(inliers.tolist())
    return found.evidence


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-4.5, 5.5)])
@pytest.mark.parametrize("scale", [0.6, 1.0, 1.3])
def test_position_and_scale_are_found(scale, shift):
    scene = field(1)
    # A cell of the query lies at ``shift + scale * cell`` of the candidate, which shows the scene itself.
    found = verify(picture(scene, scale=scale, shift=shift, seed=1), picture(scene, seed=2))
    assert (found.found_by, found.model, found.mirrored) == ("tokens", "similarity", False)
    assert found.inliers >= 15
    assert found.log10_chance < -10
    matrix = np.array(found.transform)
    assert matrix[0, 0] == matrix[1, 1] == pytest.approx(scale, abs=0.08)
    middle = np.array([7, 7])  # in cells
    there = matrix @ [*((middle + 0.5) * (20, 30) - 0.5), 1]
    expected = (shift + scale * middle + 0.5) * (20, 30) - 0.5
    assert np.abs(there[:2] - expected).max() < 20


def test_outlines_and_overlaps():
    scene = field(2)
    found = verify(picture(scene, scale=0.5, shift=(3.25, 3.25), seed=1), picture(scene, seed=2))
    assert found.query_overlap == pytest.approx(1, abs=0.02)
    assert found.candidate_overlap == pytest.approx(0.25, abs=0.06)
    assert np.allclose(found.candidate_outline[0], (70, 105), atol=20)
    assert np.allclose(found.candidate_outline[2], (210, 315), atol=20)


def test_other_grids_and_image_sizes():
    """Half as many pixels per cell in the candidate: the scale in pixels is half as large."""
    scene, small = field(3), (140, 210)
    found = verify(picture(scene, seed=1), picture(scene, size=small, seed=2), candidate_size=small)
    assert found.transform[0][0] == pytest.approx(0.5, abs=0.03)
    assert found.candidate_overlap > 0.9


@pytest.mark.parametrize("seed", range(12))
def test_unrelated_images_have_no_evidence(seed):
    assert verify(picture(field(seed)), picture(field(100 + seed))) is None


@pytest.mark.parametrize("count", [0, 1, 7, 20, 60, 196])
@pytest.mark.parametrize("seed", range(5))
def test_random_matches_are_not_evidence(count, seed):
    generator = np.random.default_rng(seed)
    pairs = np.column_stack([1 + generator.permutation(196)[:count], 1 + generator.permutation(196)[:count]])
    tokens = picture(field(0))
    assert verify(tokens, tokens, pairs[np.argsort(pairs[:, 0])]) is None


def test_true_matches_among_random_ones():
    generator = np.random.default_rng(4)
    order = generator.permutation(196)
    right, wrong = order[:60], order[60:]
    pairs = np.column_stack([np.r_[right, wrong], np.r_[right, generator.permutation(wrong)]]) + 1
    tokens = picture(field(0))
    assert verify(tokens, tokens, pairs).inliers >= 60


def test_the_class_token_is_ignored():
    scene = field(5)
    query, candidate = picture(scene, seed=1), picture(scene, seed=2)
    matches = MATCHER.matches(query, candidate)
    assert matches[0].tolist() == [0, 0]
    found = verify(query, candidate, matches)
    without = verify(query, candidate, matches[1:])
    assert found.inliers == without.inliers
    assert found.transform == without.transform
    assert (found.matches, without.matches) == (len(matches), len(matches) - 1)
    sizes = {"query_size": SIZE, "candidate_size": SIZE}
    assert [0, 0] not in VERIFIER.verify(query, candidate, matches, **sizes).inliers.tolist()


def test_the_order_of_the_matches_does_not_matter():
    scene = field(6)
    query, candidate = (
        picture(scene, scale=0.8, shift=(1, 2), seed=1, noise=0.4),
        picture(scene, seed=2, noise=0.4),
    )
    matches = MATCHER.matches(query, candidate)
    expected = verify(query, candidate, matches)
    assert expected is not None

    @settings(max_examples=15, deadline=None)
    @given(st.permutations(range(len(matches))))
    def check(order):
        assert verify(query, candidate, matches[list(order)]) == expected

    check()


def test_matches_in_one_row_are_not_evidence():
    tokens = picture(field(0))
    pairs = np.column_stack([np.arange(1, 15)] * 2)
    assert verify(tokens, tokens, pairs) is None


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 30),
    st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
    st.sampled_from([1, 2, 3, 7]),
    st.randoms(use_true_random=False),
)
def test_arbitrary_input_does_not_crash(count, size, grid, random):
    tokens = grid * grid + 1
    features = LocalFeatures(
        np.zeros((tokens, 4), dtype=np.float32), token_keypoints(size[1], size[0], tokens), np.array([0, tokens])
    )
    pairs = [(random.randrange(tokens), random.randrange(tokens)) for _ in range(count)]
    matches = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    found = VERIFIER.verify(features, features, matches, query_size=size, candidate_size=size)
    assert found is None or np.isfinite(found.evidence.transform).all()


def test_keypoints_with_angles_or_without_positions_are_ignored():
    tokens = picture(field(0))
    for column, value in ((3, 90.0), (2, 0.0)):
        other = LocalFeatures(tokens.descriptors, tokens.keypoints.copy(), tokens.offsets)
        other.keypoints[:, column] = value
        assert verify(other, tokens, np.column_stack([np.arange(197)] * 2)) is None


def test_global_features_are_rejected():
    vector = GlobalFeatures(np.zeros((1, 4), dtype=np.float32))
    with pytest.raises(TypeError):
        verify(vector, vector, np.empty((0, 2), dtype=np.int64))
