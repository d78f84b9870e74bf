"""The ANN index over vectors that Milvus searches: ``make test-milvus``."""

from __future__ import annotations

import itertools
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from postgres_stores import collection_name

from imagefinder.ann import aggregate, vector_index
from imagefinder.ann.aggregate import Aggregation
from imagefinder.ann.vector_index import VectorIndex
from imagefinder.core import filters
from imagefinder.core.errors import ShortlistUnavailableError
from imagefinder.core.features import FeatureSpec
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.stores.distributed.address import Address
from imagefinder.stores.distributed.pool import Database, Options
from imagefinder.stores.distributed.schema import drop_collection
from imagefinder.stores.distributed.store import DistributedStore
from imagefinder.stores.distributed.vectors import PgVectors
from imagefinder.testing.ann_indexes import METHOD, AnnIndexSuite, features, names, put

LOCAL = FeatureSpec("local", 128, "uint8")
GLOBAL = FeatureSpec("global", 96, "float32")

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Fewer values, so that training takes milliseconds."""
    monkeypatch.setattr(aggregate, "CENTRES", 8)
    monkeypatch.setattr(aggregate, "REDUCED_DIM", 24)
    monkeypatch.setattr(aggregate, "DIM", 128)


@pytest.fixture
def eager(monkeypatch):
    """Each vector is copied at once."""
    from imagefinder.stores.distributed import milvus_vectors

    monkeypatch.setattr(milvus_vectors, "FOLLOWED_FROM", 1)
    monkeypatch.setattr(milvus_vectors, "_COPIED_AT_ONCE", 7)
    monkeypatch.setattr(milvus_vectors, "_LOADED_SECONDS", 0.0)


@pytest.fixture(scope="session")
def database_url(milvus, postgres):
    del milvus  # where it cannot run, nothing is started
    return postgres.url(postgres.new_database())


@pytest.fixture
def opened(milvus, database_url):
    """Opens stores of collections, a new one without a name, and closes them."""
    from imagefinder.stores.distributed.milvus import MilvusServer
    from imagefinder.stores.distributed.milvus_address import MilvusAddress
    from imagefinder.stores.distributed.milvus_vectors import MilvusCopies

    stores = []

    def open_one(name=None, *, seconds=10.0, with_milvus=True):
        server = MilvusServer(MilvusAddress.of(f"{milvus.url}?timeout={seconds}"))
        store = DistributedStore(
            Database(Address.of_database(database_url), Options(connections=8)),
            collection_name(Path(name or f"milvus {next(_numbers)}")),
            create=True,
            cache_bytes=0,
            vectors=partial(MilvusCopies, server) if with_milvus else PgVectors,
        )
        store.use_models(lambda data, spec: Aggregation.from_bytes(data, spec).vectors)
        stores.append(store)
        return store

    yield open_one
    for store in stores:
        store.close()


def index_of(store, spec=LOCAL):
    return VectorIndex(store, METHOD, spec, store.vector_table(METHOD))


def copies_of(store):
    """Names of the copies of this collection in Milvus."""
    table = store.vector_table(METHOD)
    prefix = table._copies.name_of(0).rpartition("_")[0]
    server = table._server
    return {
        name
        for name in server._call("list", lambda client, limit: client.list_collections(timeout=limit))
        if name.startswith(f"{prefix}_")
    }


def behind(store):
    return store._tables.measures()["vectors_behind"]


@pytest.mark.parametrize("spec", [LOCAL, GLOBAL], ids=["local", "global"])
class TestMilvusIndex(AnnIndexSuite):
    @pytest.fixture(autouse=True, params=["copied", "new"])
    def copied(self, request):
        if request.param == "copied":
            request.getfixturevalue("eager")

    @pytest.fixture
    def spec(self, request):
        return request.param

    @pytest.fixture
    def make_store(self, opened):
        return opened

    @pytest.fixture
    def make_index(self):
        return lambda store, method, spec: VectorIndex(store, method, spec, store.vector_table(method))


def test_few_vectors_need_no_copy(opened):
    store = opened()
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    index = index_of(store)
    index.refresh()
    assert copies_of(store) == set()
    assert behind(store) == 30
    assert names(store, index, features(LOCAL, 7), 1)[0] == "7"
    assert index.verify() == []


def test_what_milvus_lacks_is_found_and_copied_later(opened, eager, monkeypatch):
    from imagefinder.stores.distributed import milvus_vectors

    store = opened()
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    index = index_of(store)
    index.refresh()
    assert behind(store) == 0
    monkeypatch.setattr(milvus_vectors, "FOLLOWED_FROM", 3)
    put(store, LOCAL, {"new": 100, "3": 103})
    assert not index.refresh()
    assert behind(store) == 2
    for _ in range(2):  # before and after copying
        assert index.state().waiting == 0
        for name, seed in (("new", 100), ("3", 103)):
            assert names(store, index, features(LOCAL, seed), 1)[0] == name
        assert len(index.propose(features(LOCAL, 3), 100)[0].keys) == 31
        monkeypatch.setattr(milvus_vectors, "FOLLOWED_FROM", 1)
        index.refresh()
        assert behind(store) == 0
    assert index.verify() == []


def test_new_vectors_are_copied_in_the_background(opened, eager):
    store = opened()
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    index = index_of(store)
    index.refresh()
    put(store, LOCAL, {f"new {seed}": seed for seed in range(100, 130)})
    wait_until(lambda: behind(store) == 0)
    assert index.verify() == []
    with_pgvector = opened(store_name := f"milvus {next(_numbers)}", with_milvus=False)
    put(with_pgvector, LOCAL, {str(seed): seed for seed in range(30)})
    index_of(with_pgvector).refresh()
    other = opened(store_name)
    assert names(other, index_of(other), features(LOCAL, 7), 1)[0] == "7"  # a search copies as well
    wait_until(lambda: behind(other) == 0)


def test_every_acknowledged_image_is_found_while_others_write_and_copy(opened, eager):
    """Two writers put and delete, one process copies all the time; a reader looks for every acknowledged image."""
    name = f"milvus {next(_numbers)}"
    store = opened(name)
    put(store, LOCAL, {str(seed): seed for seed in range(20)})
    index_of(store).refresh()
    end, failures, acknowledged = threading.Event(), [], []

    def guarded(work):
        try:
            while not end.is_set():
                work()
        except Exception as error:
            failures.append(error)

    def write(number, writer, seeds):
        seed = next(seeds)
        put(writer, LOCAL, {f"{number}-{seed}": seed})
        acknowledged.append((f"{number}-{seed}", seed))
        if seed % 3 == 0:
            writer.delete([f"{number}-{seed - 60}"])  # which the reader does not look for any more

    works = [partial(write, number, opened(name), itertools.count(1000 * number)) for number in (1, 2)]
    copier = index_of(opened(name))
    works.append(copier.refresh)
    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    index, looked, table = index_of(store), 0, store.vector_table(METHOD)
    (model,) = table.models()
    before = table._copies.watermark(model.key)
    until = time.monotonic() + 12
    while time.monotonic() < until:
        if acknowledged:
            image, seed = acknowledged[-1]
            assert image in names(store, index, features(LOCAL, seed), 1)
            looked += 1
    end.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert looked > 20
    after = table._copies.watermark(model.key)
    assert after.since > before.since
    assert after.seen > before.seen
    wait_until(lambda: index.refresh() or behind(store) == 0)
    assert index.verify() == []
    assert index.state().indexed == store.info().images


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_removed_images_do_not_come_back(opened, eager):
    store = opened()
    put(store, LOCAL, {str(seed): seed for seed in range(60)})
    index = index_of(store)
    index.refresh()
    store.delete([str(seed) for seed in range(20)])
    assert "5" not in names(store, index, features(LOCAL, 5), 40)
    assert index.refresh()
    (name,) = copies_of(store)
    mark = index._table._copies.watermark(index._table.models()[0].key)
    assert index._table._server.count(name, since=mark.seen) <= 60
    assert "5" not in names(store, index, features(LOCAL, 5), 40)
    assert index.verify() == []


def test_many_removed_images_hide_none_of_the_others(opened, eager):
    store = opened()
    near = {f"near {number}": 7 for number in range(150)}
    put(store, GLOBAL, near | {str(seed): seed for seed in range(20, 40)})
    index = index_of(store, GLOBAL)
    index.refresh()
    store.delete(list(near))
    assert len(index.propose(features(GLOBAL, 7), 20)[0].keys) == 20


@pytest.mark.parametrize("value", [True, 3], ids=["compared by Python", "compared by PostgreSQL"])
def test_a_filter_that_matches_few_images_finds_them(opened, eager, monkeypatch, value):
    from imagefinder.stores.distributed import milvus_vectors

    monkeypatch.setattr(milvus_vectors, "MOST_FOUND", 100)
    store = opened()
    store.register(Fingerprint(METHOD, 1), GLOBAL)
    store.put(
        [
            Entry(
                ImageRecord(str(seed), "", "", 0, 1, 1, "PNG", metadata={"rare": value if seed % 100 == 3 else 0}),
                {METHOD: features(GLOBAL, seed)},
            )
            for seed in range(600)
        ]
    )
    index = index_of(store, GLOBAL)
    index.refresh()
    where = filters.parse({"rare": value})
    keys = np.sort(index.propose(features(GLOBAL, 5), 6, where=where)[0].keys)
    assert set(store.load(METHOD, keys, where=where)[1].ids) == {"3", "103", "203", "303", "403", "503"}


def test_a_copy_disappears_with_its_model(opened, eager):
    store = opened()
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    index = index_of(store)
    index.refresh()
    (old,) = copies_of(store)
    assert index.refresh(rebuild=True)
    (new,) = copies_of(store)
    assert new != old
    other = opened()
    store.unregister(METHOD)
    put(other, LOCAL, {str(seed): seed for seed in range(30)})
    index_of(other).refresh()
    assert copies_of(store) == set()
    (kept,) = copies_of(other)
    drop_collection(other._database, other._name)
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    index_of(store).refresh()
    names_in_milvus = store.vector_table(METHOD)._server._call("list", lambda c, limit: c.list_collections())
    assert kept not in names_in_milvus


def test_an_index_of_the_database_is_copied_and_used_again(opened, eager):
    """Changing the setting needs no new training, in either direction."""
    name = f"milvus {next(_numbers)}"
    plain = opened(name, with_milvus=False)
    put(plain, LOCAL, {str(seed): seed for seed in range(30)})
    index_of(plain).refresh()
    (model,) = plain.vector_table(METHOD).models()
    store = opened(name)
    index = index_of(store)
    assert names(store, index, features(LOCAL, 7), 1)[0] == "7"  # compared in PostgreSQL
    wait_until(lambda: behind(store) == 0)
    assert copies_of(store)
    assert index.verify() == []
    assert names(store, index, features(LOCAL, 7), 1)[0] == "7"
    put(plain, LOCAL, {"new": 100})  # a writer that does not know Milvus
    assert names(store, index, features(LOCAL, 100), 1)[0] == "new"
    assert names(plain, index_of(plain), features(LOCAL, 100), 1)[0] == "new"
    assert [one.key for one in store.vector_table(METHOD).models()] == [model.key]


def test_an_interrupted_build_is_continued(opened, eager, monkeypatch):
    store = opened()
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    monkeypatch.setattr(vector_index, "_FILLED_AT_ONCE", 10)
    index = index_of(store)
    send, calls = index._table._server.put, []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise ShortlistUnavailableError("away")
        return send(*arguments)

    monkeypatch.setattr(index._table._server, "put", failing)
    with pytest.raises(ShortlistUnavailableError):
        index.refresh()
    assert "7" in names(store, index, features(LOCAL, 7), 5)
    trained = []
    monkeypatch.setattr(aggregate, "train", lambda *arguments: trained.append(arguments))
    assert index.refresh()
    assert trained == []
    assert index.state().waiting == 0
    wait_until(lambda: index.refresh() or behind(store) == 0)
    assert index.verify() == []


def test_too_many_vectors_that_milvus_lacks_are_an_error(opened, monkeypatch):
    from imagefinder.stores.distributed import milvus_vectors

    store = opened()
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    index = index_of(store)
    index.refresh()
    monkeypatch.setattr(milvus_vectors, "MOST_BEHIND", 33)
    put(store, LOCAL, {f"new {seed}": seed for seed in range(100, 104)})
    with pytest.raises(ShortlistUnavailableError, match="lacks more than 33") as caught:
        index.propose(features(LOCAL, 7), 5)
    assert "build-index" in caught.value.hint


def test_damage_in_milvus_is_reported(opened, eager):
    store = opened()
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    index = index_of(store)
    index.refresh()
    (name,) = copies_of(store)
    keys = store.changes(METHOD, None).new
    index._table._server.delete(name, keys[:5].tolist())
    time.sleep(1)  # a deletion reports no time that a search could wait for
    assert any("25 of 30" in problem for problem in index.verify())
    assert index.refresh(rebuild=True)
    assert index.verify() == []


def test_a_hung_server_is_an_error_and_puts_go_on(opened, eager, milvus):
    store = opened(seconds=2)
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    index = index_of(store)
    index.refresh()
    milvus.suspend()
    try:
        start = time.monotonic()
        with pytest.raises(ShortlistUnavailableError, match="no answer within 2 s") as caught:
            index.propose(features(LOCAL, 7), 5)
        assert caught.value.retryable
        with pytest.raises(ShortlistUnavailableError, match="did not answer"):
            store.probe(1)
        assert time.monotonic() - start < 8
        start = time.monotonic()
        put(store, LOCAL, {"new": 100})
        assert time.monotonic() - start < 2
    finally:
        milvus.resume()
    assert names(store, index, features(LOCAL, 100), 1)[0] == "new"
    wait_until(lambda: probed(store))


def probed(store):
    try:
        store.probe(5)
    except ShortlistUnavailableError:
        return False
    return True


def test_a_killed_server_is_an_error_until_it_is_back(opened, eager, milvus):
    store = opened(seconds=5)
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    index = index_of(store)
    index.refresh()
    put(store, LOCAL, {"new": 100})
    milvus.kill()
    try:
        start = time.monotonic()
        with pytest.raises(ShortlistUnavailableError, match=r"cannot be reached|no answer"):
            index.propose(features(LOCAL, 7), 5)
        with pytest.raises(ShortlistUnavailableError):
            index.refresh(rebuild=True)
        assert time.monotonic() - start < 20
        put(store, LOCAL, {"newer": 101})
    finally:
        milvus.start()
    wait_until(lambda: proposed(store, index, 100, "new"), 60)
    assert proposed(store, index, 101, "newer")
    wait_until(lambda: copied(store, index), 90)  # some parts of the server start later
    assert index.verify() == []


def copied(store, index):
    try:
        return index.refresh() or behind(store) == 0
    except ShortlistUnavailableError:
        return False


def proposed(store, index, seed, name):
    try:
        return names(store, index, features(LOCAL, seed), 1)[0] == name
    except ShortlistUnavailableError:
        return False


def test_a_server_that_lost_its_data_gets_them_again(opened, eager, milvus):
    store = opened(seconds=5)
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    index = index_of(store)
    index.refresh()
    model = index._table.models()[0].key
    milvus.lose_data()
    milvus.start()
    with pytest.raises(ShortlistUnavailableError):
        index.propose(features(LOCAL, 7), 5)  # and starts to copy
    wait_until(lambda: proposed(store, index, 7, "7"), 60)
    assert index.verify() == []
    milvus.lose_data()
    milvus.start()
    other = index_of(store)
    assert other.refresh()  # what build-index does
    assert other.verify() == []
    assert other._table.models()[0].key == model
