from __future__ import annotations

from functools import partial

import pytest
from postgres_stores import open_store_with_objects

from imagefinder.testing.stores import StoreSuite


@pytest.fixture(scope="session")
def database_url(postgres):
    return postgres.url(postgres.new_database())


class TestDistributedWithObjects(StoreSuite):
    @pytest.fixture
    def make_store(self, database_url, seaweed):
        return partial(open_store_with_objects, database_url, 1 << 30, seaweed.url("suite"))

    @pytest.fixture
    def process_store(self, database_url, seaweed):
        return partial(open_store_with_objects, database_url, 0, seaweed.url("suite"))
