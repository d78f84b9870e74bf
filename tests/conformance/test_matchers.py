import pytest

from imagefinder.core.features import FeatureSpec
from imagefinder.matching.cosine import CosineMatcher
from imagefinder.matching.mutual_nn import MutualNNMatcher
from imagefinder.testing.matchers import MatcherSuite


class TestCosine(MatcherSuite):
    @pytest.fixture
    def matcher(self):
        return CosineMatcher()

    @pytest.fixture
    def spec(self):
        return FeatureSpec("global", 64, "float32")


class TestMutualNNIntegers(MatcherSuite):
    @pytest.fixture
    def matcher(self):
        return MutualNNMatcher()

    @pytest.fixture
    def spec(self):
        return FeatureSpec("local", 128, "uint8")


class TestMutualNNSignedIntegers(TestMutualNNIntegers):
    @pytest.fixture
    def spec(self):
        return FeatureSpec("local", 96, "int8")


class TestMutualNNFloats(TestMutualNNIntegers):
    @pytest.fixture
    def spec(self):
        return FeatureSpec("local", 48, "float32")
