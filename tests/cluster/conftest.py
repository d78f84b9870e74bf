from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import postgres_server
from .postgres_server import PostgresServer


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL server; tests create databases of their own (``new_database``) and never end it."""
    if reason := postgres_server.missing():
        pytest.skip(reason)
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL server that the test may stop and kill."""
    if reason := postgres_server.missing():
        pytest.skip(reason)
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()
