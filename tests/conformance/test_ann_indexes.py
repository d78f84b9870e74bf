import tempfile
from pathlib import Path

import pytest

from imagefinder.ann.index import InvertedFileIndex
from imagefinder.core.features import FeatureSpec
from imagefinder.stores.embedded import EmbeddedStore
from imagefinder.stores.memory import MemoryStore
from imagefinder.testing.ann_indexes import AnnIndexSuite


class OnDisk(AnnIndexSuite):
    @pytest.fixture
    def make_store(self, tmp_path):
        def make():
            return EmbeddedStore(Path(tempfile.mkdtemp(dir=tmp_path)), create=True, cache_bytes=0)

        return make

    @pytest.fixture
    def make_index(self):
        return InvertedFileIndex


class TestPoints(OnDisk):
    @pytest.fixture
    def spec(self):
        return FeatureSpec("local", 128, "uint8")


class TestTokens(OnDisk):
    @pytest.fixture
    def spec(self):
        return FeatureSpec("local", 96, "float32")


class TestIntegerTokens(OnDisk):
    @pytest.fixture
    def spec(self):
        return FeatureSpec("local", 96, "int8")


class TestVectors(OnDisk):
    @pytest.fixture
    def spec(self):
        return FeatureSpec("global", 32, "float32")


class TestInMemory(TestPoints):
    @pytest.fixture
    def make_store(self):
        return MemoryStore
