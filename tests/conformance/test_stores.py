from functools import partial

import pytest

from imagefinder.stores.embedded import EmbeddedStore
from imagefinder.stores.memory import MemoryStore
from imagefinder.testing.stores import StoreSuite


class TestMemory(StoreSuite):
    persistent = False

    @pytest.fixture
    def make_store(self):
        return lambda location: MemoryStore()


class TestEmbedded(StoreSuite):
    @pytest.fixture
    def make_store(self):
        return lambda location: EmbeddedStore(location, create=True, cache_bytes=1 << 30)

    @pytest.fixture
    def process_store(self):
        return partial(EmbeddedStore, create=True, cache_bytes=0)


class TestEmbeddedWithoutCache(StoreSuite):
    @pytest.fixture
    def make_store(self):
        return lambda location: EmbeddedStore(location, create=True, cache_bytes=0)
