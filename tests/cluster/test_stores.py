from __future__ import annotations

from functools import partial

import pytest
from postgres_stores import open_store

from imagefinder.testing.stores import StoreSuite


@pytest.fixture(scope="session")
def database_url(postgres):
    return postgres.url(postgres.new_database())


class TestDistributed(StoreSuite):
    @pytest.fixture
    def make_store(self, database_url):
        return partial(open_store, database_url, 1 << 30)

    @pytest.fixture
    def process_store(self, database_url):
        return partial(open_store, database_url, 0)
