from __future__ import annotations

from pathlib import Path

import psycopg
import pytest


def test_server_survives_a_kill(own_postgres):
    name = own_postgres.new_database()
    own_postgres.execute("CREATE TABLE numbers (n integer)", name)
    own_postgres.execute("INSERT INTO numbers VALUES (7)", name)
    own_postgres.kill()
    with pytest.raises(psycopg.OperationalError):
        own_postgres.execute("SELECT 1", name)
    own_postgres.start()
    assert own_postgres.execute("SELECT n FROM numbers", name) == [(7,)]


def test_server_does_not_run_as_root(postgres):
    owner = Path(f"/proc/{postgres.pid}").stat().st_uid
    assert owner != 0
    assert (postgres.data.stat().st_mode & 0o077, postgres.data.stat().st_uid) == (0, owner)
