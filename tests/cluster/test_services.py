"""The contracts of services on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from imagefinder.core.contracts import Store
from imagefinder.server.catalogue.postgres import PostgresCatalogue
from imagefinder.server.jobs.postgres import PostgresJobs
from imagefinder.server.keys.postgres import PostgresKeys
from imagefinder.server.tables import SERVICE
from imagefinder.stores.distributed.address import Address
from imagefinder.stores.distributed.pool import Database
from imagefinder.stores.distributed.schema import prepare
from imagefinder.stores.distributed.store import DistributedStore
from imagefinder.testing.services import CatalogueSuite, JobsSuite, KeysSuite, PortionedJobsSuite
from imagefinder.testing.services.jobs import MAX_QUEUED

from .postgres_server import PostgresServer

LEASE = 1.0


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    """The URL of a new database."""
    return postgres.url(postgres.new_database())


@pytest.fixture
def connect(url: str) -> Iterator[Callable[[], Database]]:
    """Connect to the new database, as another process would."""
    opened: list[Database] = []

    def connect() -> Database:
        database = Database(Address.of_database(url))
        opened.append(database)
        prepare(database, SERVICE, create=True)
        return database

    yield connect
    for database in opened:
        database.close()


class TestKeys(KeysSuite):
    @pytest.fixture
    def make_keys(self, connect: Callable[[], Database]) -> Callable[[], PostgresKeys]:
        return lambda: PostgresKeys(connect())


class TestCatalogue(CatalogueSuite):
    @pytest.fixture
    def make_catalogue(self, connect: Callable[[], Database], url: str) -> Callable[[], PostgresCatalogue]:
        return lambda: PostgresCatalogue(connect(), url)

    @pytest.fixture
    def open_store(self) -> Callable[[str, bool], Store]:
        def open_store(location: str, create: bool) -> Store:
            address = Address.of_collection(location)
            database = Database(address.database)
            return DistributedStore(database, address.collection, create=create, cache_bytes=0)

        return open_store


class TestJobs(JobsSuite):
    @pytest.fixture
    def make_jobs(self, connect: Callable[[], Database]) -> Callable[[], PostgresJobs]:
        return lambda: PostgresJobs(connect(), max_queued=MAX_QUEUED, lease_seconds=LEASE)


class TestPortions(PortionedJobsSuite):
    @pytest.fixture
    def lease(self) -> float:
        return LEASE

    @pytest.fixture
    def make_process(self, connect: Callable[[], Database]) -> Callable[[], PostgresJobs]:
        return lambda: PostgresJobs(connect(), max_queued=MAX_QUEUED, lease_seconds=LEASE)

    @pytest.fixture
    def silence(self) -> Callable[[PostgresJobs], None]:
        return lambda jobs: jobs._taken.clear()
