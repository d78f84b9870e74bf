"""Tests for the contract of matchers; subclass ``MatcherSuite`` in your own tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from imagefinder.core.batch_contracts import BatchMatcher
from imagefinder.core.contracts import Matcher, NearMatcher
from imagefinder.core.features import Features, FeatureSpec, GlobalFeatures, LocalFeatures, concatenate, empty


def random_features(spec: FeatureSpec, counts: Sequence[int], seed: int = 0) -> Features:
    """Seeded features of ``len(counts)`` images; local ones have these numbers of descriptors."""
    generator = np.random.default_rng(seed)
    if spec.kind == "global":
        return GlobalFeatures(generator.normal(size=(len(counts), spec.dim)).astype(np.float32))
    total = sum(counts)
    descriptors = (
        generator.integers(0, 256, size=(total, spec.dim), dtype=np.uint8).view(spec.dtype)
        if spec.dtype != "float32"
        else generator.normal(size=(total, spec.dim)).astype(np.float32)
    )
    keypoints = generator.uniform(0, 640, size=(total, 4)).astype(np.float32)
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return LocalFeatures(descriptors, keypoints, offsets)


class MatcherSuite:
    """Provide the fixtures ``matcher`` and ``spec``; every test then runs on your matcher."""

    @pytest.fixture
    def matcher(self) -> Matcher:
        """The matcher under test."""
        raise NotImplementedError("provide a fixture named matcher")

    @pytest.fixture
    def spec(self) -> FeatureSpec:
        """Kind, dimension and dtype of the features it compares."""
        raise NotImplementedError("provide a fixture named spec")

    def test_one_finite_float64_score_per_image(self, matcher: Matcher, spec: FeatureSpec) -> None:
        """Shape, dtype and range of the scores."""
        gallery = random_features(spec, [5, 0, 1, 30])
        scores = matcher.score(random_features(spec, [7], seed=1), gallery)
        assert scores.shape == (4,)
        assert scores.dtype == np.float64
        assert np.isfinite(scores).all()

    def test_empty_gallery(self, matcher: Matcher, spec: FeatureSpec) -> None:
        """An empty gallery gives no scores."""
        assert matcher.score(random_features(spec, [7]), empty(spec)).shape == (0,)

    def test_an_image_matches_itself_best(self, matcher: Matcher, spec: FeatureSpec) -> None:
        """The query itself has the highest score among others."""
        gallery = random_features(spec, [20, 25, 30])
        for index in range(3):
            assert matcher.score(gallery.image(index), gallery).argmax() == index

    def test_batch_equals_one_by_one(self, matcher: Matcher, spec: FeatureSpec) -> None:
        """A score does not depend on the other images of the gallery."""
        query, gallery = random_features(spec, [9], seed=1), random_features(spec, [5, 0, 1, 30])
        alone = [matcher.score(query, gallery.image(index))[0] for index in range(4)]
        np.testing.assert_allclose(matcher.score(query, gallery), alone, rtol=1e-6, atol=1e-6)

    def test_near_matches_are_some_of_all(self, matcher: Matcher, spec: FeatureSpec) -> None:
        """With near matches, the scores are the same, and an image has the most near matches with itself."""
        if not isinstance(matcher, NearMatcher):
            pytest.skip("this matcher does not count near matches")
        gallery = random_features(spec, [20, 0, 25, 30])
        for index in (0, 2, 3):
            query = gallery.image(index)
            found = matcher.score_near(query, gallery)
            scores, near = found.scores, found.near
            np.testing.assert_array_equal(scores, matcher.score(query, gallery))
            assert near.shape == scores.shape
            assert not found.matches
            assert ((near >= 0) & (near <= scores)).all()
            assert near.argmax() == index

    @pytest.mark.parametrize("room", [1, 22, 25, 1000])
    def test_kept_matches_are_those_of_the_pair(self, matcher: Matcher, spec: FeatureSpec, room: int) -> None:
        """At most ``room`` matches are kept; those of all images if there is room."""
        if not isinstance(matcher, NearMatcher):
            pytest.skip("this matcher does not count near matches")
        gallery = random_features(spec, [20, 0, 25, 30])
        query = gallery.image(0)
        found = matcher.score_near(query, gallery, room=room)
        np.testing.assert_array_equal(found.scores, matcher.score(query, gallery))
        for number, matches in found.matches.items():
            np.testing.assert_array_equal(matches, matcher.matches(query, gallery.image(number)))
        assert sum(map(len, found.matches.values())) <= room
        if found.scores.sum() <= room:
            assert sorted(found.matches) == [0, 1, 2, 3]

    def test_order_of_the_gallery_does_not_matter(self, matcher: Matcher, spec: FeatureSpec) -> None:
        """Reordering the gallery reorders the scores."""
        query, gallery = random_features(spec, [9], seed=1), random_features(spec, [5, 4, 1, 30])
        turned = concatenate(spec, [gallery.image(index) for index in (3, 2, 1, 0)])
        np.testing.assert_allclose(
            matcher.score(query, turned), matcher.score(query, gallery)[::-1], rtol=1e-6, atol=1e-6
        )

    def test_matches_name_rows_of_both_images(self, matcher: Matcher, spec: FeatureSpec) -> None:
        """Pairs are sorted and in range, and each row is used at most once."""
        a, b = random_features(spec, [12], seed=1), random_features(spec, [15], seed=2)
        pairs = matcher.matches(a, b)
        assert pairs.dtype == np.int64
        assert pairs.ndim == 2
        assert pairs.shape[1] == 2
        if spec.kind == "global":
            assert len(pairs) == 0
            return
        assert (pairs >= 0).all()
        assert (pairs[:, 0] < 12).all()
        assert (pairs[:, 1] < 15).all()
        assert (np.diff(pairs[:, 0]) > 0).all()
        assert len(set(pairs[:, 1])) == len(pairs)

    def test_many_candidates_equal_one_by_one(self, matcher: Matcher, spec: FeatureSpec) -> None:
        """Matches with all candidates at once are those with each."""
        if not isinstance(matcher, BatchMatcher):
            pytest.skip("this matcher compares pairs one by one")
        query, gallery = random_features(spec, [9], seed=1), random_features(spec, [5, 0, 1, 30])
        candidates = [gallery.image(index) for index in range(4)]
        for threads in (1, 2):
            found = matcher.matches_all(query, candidates, threads=threads)
            assert [one.tolist() for one in found] == [
                matcher.matches(query, candidate).tolist() for candidate in candidates
            ]
        assert matcher.matches_all(query, [], threads=1) == []

    def test_inputs_are_not_modified(self, matcher: Matcher, spec: FeatureSpec) -> None:
        """Nothing is written into the caller's arrays."""
        query, gallery = random_features(spec, [9], seed=1), random_features(spec, [5, 4])
        before = _bytes(query), _bytes(gallery)
        matcher.score(query, gallery)
        matcher.matches(query, gallery.image(0))
        assert (_bytes(query), _bytes(gallery)) == before


def _bytes(features: Features) -> bytes:
    array = features.vectors if isinstance(features, GlobalFeatures) else features.descriptors
    return array.tobytes()
