import pytest

from imagefinder.core.settings import Settings
from imagefinder.testing.extractors import ExtractorSuite
from imagefinder.wiring import load_method


class TestSift(ExtractorSuite):
    tolerance = 0

    @pytest.fixture(scope="class")
    def extractor(self):
        return load_method("sift", Settings()).extractor


class TestEfficientNetLite0(ExtractorSuite):
    @pytest.fixture(scope="class")
    def extractor(self):
        return load_method("efficientnet-lite0", Settings()).extractor
