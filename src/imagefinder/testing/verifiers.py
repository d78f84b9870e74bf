"""Tests for the contract of verifiers; subclass ``VerifierSuite`` in your own tests."""

from __future__ import annotations

import numpy as np
import pytest

from imagefinder.core.batch_contracts import BatchVerifier, MatchedPair
from imagefinder.core.contracts import Verifier
from imagefinder.core.features import LocalFeatures

SIZE = (320, 240)
"""Width and height in pixels of the images in the suite."""


class VerifierSuite:
    """Provide the fixtures ``verifier`` and ``pair``; every test then runs on your verifier."""

    @pytest.fixture
    def verifier(self) -> Verifier:
        """The verifier under test."""
        raise NotImplementedError("provide a fixture named verifier")

    @pytest.fixture
    def pair(self) -> tuple[LocalFeatures, LocalFeatures]:
        """Features of two images of ``SIZE``; row i of one matches row i of the other, by one geometry."""
        raise NotImplementedError("provide a fixture named pair")

    def test_a_common_geometry_is_found(
        self, verifier: Verifier, pair: tuple[LocalFeatures, LocalFeatures]
    ) -> None:
        """The evidence has plausible values."""
        verification = verifier.verify(*pair, _all(pair), query_size=SIZE, candidate_size=SIZE)
        assert verification is not None
        found = verification.evidence
        assert 0 < found.inliers <= found.matches == len(pair[0].descriptors)
        assert 0 <= found.query_overlap <= 1
        assert 0 <= found.candidate_overlap <= 1
        assert found.log10_chance < 0
        assert np.isfinite(found.transform).all()

    def test_the_inliers_match_the_evidence(
        self, verifier: Verifier, pair: tuple[LocalFeatures, LocalFeatures]
    ) -> None:
        """They are rows of the matches, sorted, without duplicates."""
        matches = _all(pair)
        found = verifier.verify(*pair, matches, query_size=SIZE, candidate_size=SIZE)
        assert found is not None
        assert len(found.inliers) == found.evidence.inliers
        rows = [tuple(row) for row in found.inliers.tolist()]
        assert rows == sorted(set(rows))
        assert set(rows) <= {tuple(row) for row in matches.tolist()}

    def test_the_order_of_the_matches_does_not_matter(
        self, verifier: Verifier, pair: tuple[LocalFeatures, LocalFeatures]
    ) -> None:
        """Any order gives the same evidence."""
        matches = _all(pair)
        shuffled = np.random.default_rng(0).permutation(matches)
        answers = [
            verifier.verify(*pair, rows, query_size=SIZE, candidate_size=SIZE) for rows in (matches, shuffled)
        ]
        assert answers[0] is not None
        assert answers[1] is not None
        assert answers[0].evidence == answers[1].evidence
        assert np.array_equal(answers[0].inliers, answers[1].inliers)

    def test_many_pairs_equal_one_by_one(
        self, verifier: Verifier, pair: tuple[LocalFeatures, LocalFeatures]
    ) -> None:
        """Verifications of several pairs at once are those of each."""
        if not isinstance(verifier, BatchVerifier):
            pytest.skip("this verifier verifies pairs one by one")
        every = [_all(pair), _all(pair)[:0], _all(pair)[::2]]
        alone = [verifier.verify(*pair, rows, query_size=SIZE, candidate_size=SIZE) for rows in every]
        pairs = [MatchedPair(*pair, rows, SIZE, SIZE) for rows in every]
        for threads in (1, 2):
            found = verifier.verify_all(pairs, threads=threads)
            assert [one and one.evidence for one in found] == [one and one.evidence for one in alone]
            assert [one and one.inliers.tolist() for one in found] == [
                one and one.inliers.tolist() for one in alone
            ]
        assert verifier.verify_all([], threads=1) == []

    def test_no_matches(self, verifier: Verifier, pair: tuple[LocalFeatures, LocalFeatures]) -> None:
        """Without matches there is no evidence, and no error."""
        none = np.empty((0, 2), dtype=np.int64)
        assert verifier.verify(*pair, none, query_size=SIZE, candidate_size=SIZE) is None

    def test_random_matches(self, verifier: Verifier, pair: tuple[LocalFeatures, LocalFeatures]) -> None:
        """Random matches hardly ever give evidence."""
        generator = np.random.default_rng(1)
        count = len(pair[0].descriptors)
        found = 0
        for _ in range(20):
            matches = np.stack([np.arange(count), generator.permutation(count)], axis=1)
            found += verifier.verify(*pair, matches, query_size=SIZE, candidate_size=SIZE) is not None
        assert found <= 1


def _all(pair: tuple[LocalFeatures, LocalFeatures]) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    rows = np.arange(len(pair[0].descriptors), dtype=np.int64)
    return np.stack([rows, rows], axis=1)
