from __future__ import annotations

import os
import signal
import threading
import time

import psycopg
import pytest

from imagefinder.core.errors import (
    CollectionClosedError,
    CollectionNotFoundError,
    SettingsError,
    StoreError,
    StoreUnavailableError,
)
from imagefinder.stores.distributed.address import Address
from imagefinder.stores.distributed.pool import Database, Options


def opened(url, **options):
    return Database(Address.of_database(url), Options(**options))


@pytest.fixture
def database(postgres):
    made = opened(postgres.url(postgres.new_database()))
    made.write(lambda c: c.execute("CREATE TABLE numbers (n integer PRIMARY KEY)"))
    yield made
    made.close()


def numbers(database):
    return database.read(lambda c: [n for (n,) in c.execute("SELECT n FROM numbers ORDER BY n")])


def insert(n):
    return lambda c: c.execute("INSERT INTO numbers VALUES (%s) ON CONFLICT DO NOTHING", [n])


def test_transaction_is_stored_whole_or_not_at_all(database):
    def failing(connection):
        insert(1)(connection)
        raise KeyError

    with pytest.raises(KeyError):
        database.write(failing)
    assert numbers(database) == []
    database.write(insert(2))
    assert numbers(database) == [2]


def test_serialization_failure_is_repeated(database):
    runs = []

    def work(connection):
        runs.append(1)
        connection.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        (before,) = connection.execute("SELECT coalesce(sum(n), 0) FROM numbers").fetchone()
        if len(runs) == 1:
            with psycopg.connect(connection.info.dsn, password=connection.info.password) as other:
                other.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
                other.execute("SELECT sum(n) FROM numbers")
                other.execute("INSERT INTO numbers VALUES (100)")
        connection.execute("INSERT INTO numbers VALUES (%s)", [before + 1])

    database.write(work)
    assert len(runs) == 2
    assert numbers(database) == [100, 101]


def test_snapshot_sees_one_state(database):
    def twice(connection):
        first = connection.execute("SELECT count(*) FROM numbers").fetchone()
        database.write(insert(1))
        return first == connection.execute("SELECT count(*) FROM numbers").fetchone()

    assert database.snapshot(twice)
    assert numbers(database) == [1]  # the connection is not left in that mode


def test_restart_of_the_server_is_not_noticed(own_postgres):
    database = opened(own_postgres.url(own_postgres.new_database()))
    database.write(lambda c: c.execute("CREATE TABLE numbers (n integer PRIMARY KEY)"))
    own_postgres.kill()
    again = threading.Timer(1.5, own_postgres.start)
    again.start()
    database.write(insert(1))
    again.join()
    own_postgres.stop()
    own_postgres.start()
    assert numbers(database) == [1]
    database.close()


def test_server_that_is_away_is_an_error_with_a_code(own_postgres):
    database = opened(own_postgres.url(), repeat_reads_seconds=1.0)
    own_postgres.kill()
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="is not available") as caught:
        database.read(lambda c: c.execute("SELECT 1"))
    assert 0.9 < time.monotonic() - began < 5
    assert caught.value.retryable
    with pytest.raises(StoreUnavailableError, match="refused"):
        opened(own_postgres.url())
    database.close()


def test_server_that_hangs_is_an_error_with_a_code(own_postgres):
    database = opened(own_postgres.url(), seconds=1.0)
    pids = database.read(lambda c: [c.info.backend_pid])
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError, match="did not answer within 1 s"):
            database.read(lambda c: c.execute("SELECT 1"))
        assert time.monotonic() - began < 4
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert database.read(lambda c: c.execute("SELECT 2").fetchone()) == (2,)
    database.close()


def test_commit_that_waits_for_a_hung_standby_is_an_error_with_a_code(own_postgres):
    database = opened(own_postgres.url(), seconds=1.0)
    own_postgres.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    own_postgres.execute("SELECT pg_reload_conf()")
    time.sleep(0.3)
    with pytest.raises(StoreUnavailableError, match="did not answer within 1 s"):
        database.write(lambda c: c.execute("CREATE TABLE numbers (n integer PRIMARY KEY)"))
    database.close()


def test_slow_statement_is_ended_by_the_server(database, postgres):
    slow = opened(postgres.url(), seconds=0.5)
    with pytest.raises(StoreUnavailableError, match=r"within 0\.5 s"):
        slow.read(lambda c: c.execute("SELECT pg_sleep(20)"))
    assert slow.write(lambda c: c.execute("SELECT pg_sleep(0.7), 3").fetchone()[1], seconds=5) == 3
    slow.close()


@pytest.mark.parametrize("where", ["url", "environment", "file"])
def test_wrong_password_is_refused_and_never_shown(postgres, where, monkeypatch, tmp_path):
    secret = "hunter2-hunter2"
    url = postgres.url().replace(postgres.password, secret)
    options = {}
    if where != "url":
        url = url.replace(f":{secret}", "")
        if where == "environment":
            monkeypatch.setenv("PGPASSWORD", secret)
        else:
            (tmp_path / "password").write_text(f"{secret}\n")
            options = {"password_file": tmp_path / "password"}
    began = time.monotonic()
    with pytest.raises(StoreError, match="refuses access") as caught:
        opened(url, **options)
    assert time.monotonic() - began < 5
    assert type(caught.value) is StoreError
    assert secret not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"


def test_password_is_read_from_a_file(postgres, tmp_path):
    url = postgres.url().replace(f":{postgres.password}", "")
    with pytest.raises(StoreError, match="refuses access"):
        opened(url)
    (tmp_path / "password").write_text(f"{postgres.password}\n")
    database = opened(url, password_file=tmp_path / "password")
    assert database.read(lambda c: c.execute("SELECT 1").fetchone()) == (1,)
    database.close()
    with pytest.raises(SettingsError, match="cannot read database_password_file"):
        opened(url, password_file=tmp_path / "none")


def test_unknown_database_and_unknown_parameter(postgres):
    with pytest.raises(CollectionNotFoundError, match="there is no database"):
        opened(postgres.url("nowhere"))
    with pytest.raises(SettingsError, match="nonsense"):
        opened(postgres.url(parameters="?nonsense=1"))


def test_second_host_is_used_if_the_first_is_away(postgres):
    url = postgres.url().replace("127.0.0.1:", "127.0.0.1:1,127.0.0.1:")
    database = opened(url)
    assert database.read(lambda c: c.execute("SELECT 1").fetchone()) == (1,)
    database.close()


def test_more_threads_than_connections(postgres):
    database = opened(postgres.url(), connections=2)
    answers = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(
                database.read(lambda c: c.execute("SELECT 1, pg_sleep(0.05)").fetchone()[0])
            )
        )
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [1] * 12
    assert database.usage()["open"] <= 2
    database.close()


def test_objects_with_equal_arguments_share_connections(postgres):
    url = postgres.url(postgres.new_database())
    first, second, other = opened(url), opened(url), opened(url, connections=3)
    for _ in range(3):
        pids = {d: d.read(lambda c: c.info.backend_pid) for d in (first, second, other)}
        assert pids[first] == pids[second] != pids[other]
    first.close()
    first.close()
    with pytest.raises(CollectionClosedError):
        first.read(lambda c: c.execute("SELECT 1"))
    assert second.read(lambda c: c.info.backend_pid) == pids[first]
    second.close()
    other.close()
    again = opened(url)
    assert again.read(lambda c: c.info.backend_pid) != pids[first]
    again.close()
