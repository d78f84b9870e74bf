from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from . import milvus_server, object_server, postgres_server
from .milvus_server import MilvusProcess
from .object_server import SeaweedServer
from .postgres_server import PostgresServer

Server = TypeVar("Server", PostgresServer, SeaweedServer, MilvusProcess)


def running(missing: str, make: Callable[[], Server]) -> Iterator[Server]:
    """A server until the test ends; without what it needs, the test is skipped."""
    if missing:
        pytest.skip(missing)
    server = make()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL server; tests create databases of their own (``new_database``) and never end it."""
    yield from running(postgres_server.missing(), PostgresServer)


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL server that the test may stop and kill."""
    yield from running(postgres_server.missing(), PostgresServer)


@pytest.fixture(scope="session")
def object_server_of_session() -> Iterator[SeaweedServer]:
    yield from running(object_server.missing(), SeaweedServer)


@pytest.fixture
def seaweed(object_server_of_session: SeaweedServer, monkeypatch: pytest.MonkeyPatch) -> SeaweedServer:
    """A running S3 server and its access key in the environment; tests use buckets or prefixes of their own."""
    for name, value in object_server_of_session.environment.items():
        monkeypatch.setenv(name, value)
    return object_server_of_session


@pytest.fixture(scope="session")
def milvus() -> Iterator[MilvusProcess]:
    """A running Milvus server; tests that stop it start it again."""
    yield from running(milvus_server.missing(), MilvusProcess)
