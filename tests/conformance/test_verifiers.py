import numpy as np
import pytest

from imagefinder.core.features import LocalFeatures
from imagefinder.extractors.network import token_keypoints
from imagefinder.testing.verifiers import SIZE, VerifierSuite
from imagefinder.verification.geometry import GeometryVerifier
from imagefinder.verification.tokens import TokenVerifier


def features(keypoints):
    descriptors = np.random.default_rng(5).integers(0, 256, (len(keypoints), 16), dtype=np.uint8)
    return LocalFeatures(descriptors, keypoints.astype(np.float32), np.array([0, len(keypoints)], np.int64))


class TestGeometry(VerifierSuite):
    @pytest.fixture
    def verifier(self):
        return GeometryVerifier()

    @pytest.fixture
    def pair(self):
        generator = np.random.default_rng(3)
        here = np.column_stack(
            [
                generator.uniform(0, SIZE[0], 80),
                generator.uniform(0, SIZE[1], 80),
                np.full(80, 6.0),
                np.full(80, 40.0),
            ]
        )
        return features(here), features(here * (0.8, 0.8, 0.8, 1) + (20, 10, 0, 0))


class TestTokens(VerifierSuite):
    @pytest.fixture
    def verifier(self):
        return TokenVerifier()

    @pytest.fixture
    def pair(self):
        tokens = token_keypoints(SIZE[1], SIZE[0], 197)
        grid = tokens[1:].reshape(14, 14, 4)
        here, there = grid[2:, 3:].reshape(-1, 4), grid[:-2, :-3].reshape(-1, 4)
        return features(here), features(there)
