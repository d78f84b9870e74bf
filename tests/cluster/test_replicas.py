"""A primary and a synchronous standby: what is acknowledged is on both, and can be read on both."""

from __future__ import annotations

import time
from contextlib import closing

import pytest
from small_images import register, small_image

from imagefinder.core.errors import StoreUnavailableError
from imagefinder.stores.distributed.address import Address
from imagefinder.stores.distributed.pool import Database, Options
from imagefinder.stores.distributed.store import DistributedStore

from . import postgres_server
from .replicas import Replicas, hang, resume
from .writers import Writers, lost


@pytest.fixture(scope="module")
def replicas():
    if reason := postgres_server.missing():
        pytest.skip(reason)
    made = Replicas()
    try:
        made.start()
        made.primary.new_database("pictures")
        yield made
    finally:
        made.remove()


def open_store(url, *, create=False, **options):
    address = Address.of_collection(url)
    database = Database(address.database, Options(**options))
    return DistributedStore(database, address.collection, create=create, cache_bytes=0)


@pytest.fixture
def writer(replicas):
    with closing(open_store(replicas.primary.url("pictures/main"), create=True, seconds=2.0)) as store:
        yield register(store)


@pytest.fixture
def reader(replicas, writer):
    with closing(open_store(replicas.standby.url("pictures/main"), repeat_seconds=1.0)) as store:
        yield store


def test_what_was_put_is_read_from_the_standby(writer, reader):
    for number in range(40):
        ids = [f"a{number:02}-{one}" for one in range(8)]
        writer.put([small_image(image_id, number) for image_id in ids])
        assert reader.records(ids).keys() == set(ids)
        assert reader.select("sift", ids).ids == tuple(ids)
    writer.delete(["a00-0"])
    assert reader.records(["a00-0"]) == {}
    assert reader.count() == writer.count()


def test_acknowledging_without_applying_would_not_be_enough(replicas, writer, reader):
    """The weaker setting acknowledges what the standby does not show yet; ``remote_apply`` waits."""
    replicas.standby.execute("SELECT pg_wal_replay_pause()")
    try:
        parameters = "?options=-c%20synchronous_commit%3Don"
        with closing(open_store(replicas.primary.url("pictures/main", parameters=parameters))) as weaker:
            register(weaker).put([small_image("weak")])
        assert reader.records(["weak"]) == {}
        with pytest.raises(StoreUnavailableError, match="did not answer within 2 s"):
            writer.put([small_image("strong")])
        assert reader.records(["strong"]) == {}
    finally:
        replicas.standby.execute("SELECT pg_wal_replay_resume()")
    writer.put([small_image("strong")])
    assert reader.records(["weak", "strong"]).keys() == {"weak", "strong"}


def test_a_standby_that_hangs_is_an_error_with_a_code(replicas, writer):
    hang(replicas.standby)
    try:
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError, match="did not answer within 2 s") as caught:
            writer.put([small_image("hung")])
        assert time.monotonic() - began < 5
        assert (caught.value.code, caught.value.retryable) == ("store_unavailable", True)
        assert "standby" in caught.value.hint
        assert writer.count() >= 0  # the primary goes on reading
    finally:
        resume(replicas.standby)
    replicas.wait_for_standby()
    writer.put([small_image("hung", 2)])
    assert writer.get("hung").metadata == {"seed": 2}


def test_the_state_of_the_engines_is_measured(replicas, writer, reader):
    writer.probe(5)
    reader.probe(5)
    found = writer.measures()
    assert (found["database_standbys"], found["database_synchronous_standbys"]) == (1, 1)
    assert found["database_connections_open"] >= 1
    assert found["database_connections_most"] == 16
    replicas.standby.execute("SELECT pg_wal_replay_pause()")
    with pytest.raises(StoreUnavailableError):
        writer.put([small_image("waits")])
    assert writer.measures()["database_standby_lag_bytes"] > 1000
    replicas.standby.execute("SELECT pg_wal_replay_resume()")
    assert reader.measures()["database_standby_lag_seconds"] >= 0
    hang(replicas.standby)
    try:
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError, match="did not answer within 1 s"):
            reader.probe(1)
        assert time.monotonic() - began < 3
        writer.probe(5)
    finally:
        resume(replicas.standby)
    replicas.wait_for_standby()


def test_a_reader_of_the_standby_cannot_write(reader):
    with pytest.raises(StoreUnavailableError, match="read-only"):
        reader.put([small_image("x")])


def test_nothing_acknowledged_is_lost_when_the_primary_is_killed(replicas):
    """The last test of this module: the standby is promoted by hand, and writers go on by themselves."""
    url = replicas.url("pictures/main")
    with Writers(lambda: open_store(url, create=True, repeat_seconds=60.0)) as writers:
        time.sleep(2.0)
        killed = time.monotonic()
        replicas.primary.kill()
        time.sleep(0.5)
        replicas.promote()
        writers.wait_for_next(killed + 0.5, 30)
        time.sleep(1.0)
    assert len(writers.acknowledged) > 20
    with closing(open_store(url)) as store:
        assert lost(writers.acknowledged, store) == []
    assert writers.longest_gap(killed) < 30
