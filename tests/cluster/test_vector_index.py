"""The ANN index over vectors in PostgreSQL."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
from postgres_stores import open_store

from imagefinder.ann import aggregate, vector_index
from imagefinder.ann.aggregate import Aggregation
from imagefinder.ann.vector_index import VectorIndex
from imagefinder.core import filters
from imagefinder.core.errors import ShortlistUnavailableError, StoreError
from imagefinder.core.features import FeatureSpec
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.stores.distributed import vectors
from imagefinder.stores.distributed.schema import drop_collection
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


@pytest.fixture(scope="session")
def database_url(postgres):
    return postgres.url(postgres.new_database())


def read_model(data, spec):
    return Aggregation.from_bytes(data, spec).vectors


@pytest.fixture
def opened(database_url):
    """Opens stores of collections, a new one without a name, and closes them."""
    stores = []

    def open_one(name=None):
        store = open_store(database_url, 0, Path(name or f"vectors {next(_numbers)}"))
        store.use_models(read_model)
        stores.append(store)
        return store

    yield open_one
    for store in stores:
        store.close()


def index_of(store, spec=LOCAL):
    return VectorIndex(store, METHOD, spec, store.vector_table(METHOD))


def tables(store):
    rows = store._database.read(
        lambda connection: connection.execute(
            "SELECT tablename FROM pg_tables WHERE tablename ~ '^vectors_[0-9]+$'"
        ).fetchall()
    )
    return {name for (name,) in rows}


@pytest.mark.parametrize(("kind", "graph"), [("local", True), ("global", False), ("tokens", True)], ids=str)
class TestVectorIndex(AnnIndexSuite):
    @pytest.fixture(autouse=True)
    def use_graph(self, graph, monkeypatch):
        if graph:
            monkeypatch.setattr(vectors, "EXACT_ROWS", 0)

    @pytest.fixture
    def spec(self, kind):
        return {"local": LOCAL, "global": GLOBAL, "tokens": FeatureSpec("local", 160, "float32")}[kind]

    @pytest.fixture
    def make_store(self, opened):
        return opened

    @pytest.fixture
    def make_index(self):
        return lambda store, method, spec: VectorIndex(store, method, spec, store.vector_table(method))


def test_put_writes_the_vectors_of_a_trained_model(opened):
    store = opened()
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    index = index_of(store)
    assert index.state().waiting == 30
    index.refresh()
    put(store, LOCAL, {"new": 100, "3": 103})
    store.put_features("4", {METHOD: features(LOCAL, 104)})
    assert index.state().waiting == 0
    assert index.verify() == []
    for name, seed in (("new", 100), ("3", 103), ("4", 104)):
        assert names(store, index, features(LOCAL, seed), 1)[0] == name
    assert len(index.propose(features(LOCAL, 3), 100)[0].keys) == 31


def test_another_worker_uses_the_model(opened):
    name = f"vectors {next(_numbers)}"
    one, other = opened(name), opened(name)
    put(one, LOCAL, {str(seed): seed for seed in range(30)})
    put(other, LOCAL, {"early": 40})  # this worker does not know a model yet
    index_of(one).refresh()
    put(other, LOCAL, {"late": 41})
    index = index_of(other)
    assert index.state().waiting == 0
    assert names(other, index, features(LOCAL, 40), 1)[0] == "early"
    assert names(other, index, features(LOCAL, 41), 1)[0] == "late"


def test_writers_during_builds_and_rebuilds_miss_nothing(opened):
    name = f"vectors {next(_numbers)}"
    store = opened(name)
    put(store, LOCAL, {str(seed): seed for seed in range(20)})
    end, failures = threading.Event(), []

    def write(number, writer):
        try:
            for seed in itertools.count(1000 * number):
                if end.is_set():
                    return
                put(writer, LOCAL, {f"{number}-{seed % 40}": seed})
                writer.delete([f"{number}-{(seed + 20) % 40}"])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number, opened(name))) for number in (1, 2)]
    for thread in threads:
        thread.start()
    index = index_of(store)
    for _ in range(4):
        assert index.refresh(rebuild=True)
        assert index.propose(features(LOCAL, 7), 5)
    end.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert index.verify() == []
    state = index.state()
    assert (state.waiting, state.indexed) == (0, store.info().images)
    assert len(tables_of(store)) == 1


def tables_of(store):
    """The tables of the models of this collection that exist."""
    rows = store._database.read(
        lambda connection: connection.execute(
            "SELECT key FROM vector_models WHERE collection = %s", [store._collection]
        ).fetchall()
    )
    return {f"vectors_{key}" for (key,) in rows} & tables(store)


def test_a_search_during_a_rebuild_uses_the_next_model(opened, monkeypatch):
    store = opened()
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    index, other = index_of(store), index_of(store)
    index.refresh()
    nearest, calls = index._table.nearest, []

    def late(*arguments):
        if not calls:
            other.refresh(rebuild=True)
        calls.append(arguments)
        return nearest(*arguments)

    monkeypatch.setattr(index._table, "nearest", late)
    assert names(store, index, features(LOCAL, 7), 1)[0] == "7"
    assert len(calls) == 2


def test_an_interrupted_build_is_continued(opened, monkeypatch):
    store = opened()
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    monkeypatch.setattr(vector_index, "_FILLED_AT_ONCE", 10)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index_of(store).refresh(progress=stop)
    index = index_of(store)
    state = index.state()
    assert (state.indexed, state.waiting) == (10, 20)
    proposed = index.propose(features(LOCAL, 7), 5)[0]
    assert np.isinf(proposed.scores).sum() == 20  # those without a vector come first
    assert "7" in names(store, index, features(LOCAL, 7), 5)
    trained = []
    monkeypatch.setattr(aggregate, "train", lambda *arguments: trained.append(arguments))
    seen = []
    assert index.refresh(progress=lambda done, total: seen.append((done, total)))
    assert trained == []
    assert seen == [(10, 20), (20, 20)]
    assert index.state().waiting == 0


def test_too_many_images_without_a_vector_are_an_error(opened, monkeypatch):
    store = opened()
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    monkeypatch.setattr(vector_index, "MOST_WAITING", 29)
    with pytest.raises(ShortlistUnavailableError, match="0 of 30 images") as caught:
        index_of(store).propose(features(LOCAL, 7), 5)
    assert caught.value.retryable
    assert "build-index" in caught.value.hint


def test_only_one_worker_builds(opened):
    store = opened()
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    lease = store.lease(f"vectors-{METHOD}", 60)
    assert not index_of(store).refresh()
    assert index_of(store).state().waiting == 30
    lease.release()
    assert index_of(store).refresh()


def test_a_writer_that_cannot_read_the_model_leaves_it_incomplete(opened):
    name = f"vectors {next(_numbers)}"
    store, old = opened(name), opened(name)

    def refuse(data, spec):
        raise ValueError("another version")

    old.use_models(refuse)
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    index = index_of(store)
    index.refresh()
    put(old, LOCAL, {"new": 100})
    assert index.state().waiting == 1
    assert "new" in names(store, index, features(LOCAL, 7), 1)
    assert index.refresh()
    assert index.state().waiting == 0
    assert index.verify() == []


def test_a_writer_that_cannot_read_the_model_during_a_build_misses_nothing(opened):
    name = f"vectors {next(_numbers)}"
    store, old = opened(name), opened(name)
    old._vectors = old._vectors.__class__(old._collection, None)
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    late = []

    def progress(done, total):
        if not late:
            late.append("late")
            put(old, LOCAL, {"late": 100})

    index = index_of(store)
    missing = index._table.missing
    # The key of the late image is beyond the part that is filled.
    index._table.missing = lambda model, **given: np.array(
        [key for key in missing(model, **given) if late != ["late"] or given["after"] < 0], dtype=np.int64
    )
    assert index.refresh(progress=progress)
    assert index.state().waiting == 0
    assert index.verify() == []
    assert names(store, index, features(LOCAL, 100), 1)[0] == "late"


def test_a_backup_that_reads_all_tables_delays_only_the_deletion(opened):
    store = opened()
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    index = index_of(store)
    index.refresh()
    (old,) = tables_of(store)
    with store._database.connection() as connection, connection.transaction():
        connection.execute(f"LOCK TABLE {old} IN ACCESS SHARE MODE")  # as pg_dump does
        assert index.refresh(rebuild=True)
        put(store, LOCAL, {"new": 100})
        assert names(store, index, features(LOCAL, 100), 1)[0] == "new"
        assert old in tables(store)
    index.refresh()
    assert old not in tables(store)


def test_damage_is_an_error_and_repaired_by_the_next_build(opened):
    store = opened()
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    index_of(store).refresh()
    store._database.run(
        lambda connection: connection.execute(
            "UPDATE vector_models SET data = 'damaged' WHERE collection = %s", [store._collection]
        )
    )
    index = index_of(store)
    with pytest.raises(ShortlistUnavailableError, match="damaged"):
        index.propose(features(LOCAL, 7), 5)
    assert "damaged" in index.verify()[0]
    assert index.refresh()
    assert index_of(store).verify() == []


def test_wrong_and_missing_vectors_are_reported(opened):
    store = opened()
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    index = index_of(store)
    index.refresh()
    (table,) = tables_of(store)
    first, second = store.changes(METHOD, None).new[:2].tolist()
    store._database.run(
        lambda connection: connection.execute(
            f"UPDATE {table} SET v = (SELECT v FROM {table} WHERE key = %s) WHERE key = %s", [second, first]
        )
    )
    assert "does not match its features" in index.verify()[0]
    store._database.run(lambda connection: connection.execute(f"DELETE FROM {table} WHERE key = %s", [second]))
    assert "1 images have made features but no vector" in index.verify()


def test_vectors_of_removed_features_are_tidied_up(opened):
    store = opened()
    put(store, LOCAL, {str(seed): seed for seed in range(60)})
    index = index_of(store)
    index.refresh()
    store.delete(["1"])
    assert not index.refresh()  # few
    store.delete([str(seed) for seed in range(20)])
    assert index.refresh()
    (table,) = tables_of(store)
    count = store._database.read(lambda connection: connection.execute(f"SELECT count(*) FROM {table}").fetchone())
    assert count == (40,)
    assert not index.refresh()


def test_many_removed_features_hide_none_of_the_others(opened, monkeypatch):
    """Removed images are nearer to the query than all others."""
    monkeypatch.setattr(vectors, "EXACT_ROWS", 0)
    store = opened()
    put(
        store, GLOBAL, {f"near {number}": 7 for number in range(150)} | {str(seed): seed for seed in range(20, 40)}
    )
    index = index_of(store, GLOBAL)
    index.refresh()
    store.delete([f"near {number}" for number in range(150)])
    assert len(index.propose(features(GLOBAL, 7), 20)[0].keys) == 20


@pytest.mark.parametrize("value", [True, 3], ids=["compared by Python", "compared by PostgreSQL"])
def test_a_filter_that_matches_few_images_finds_them(opened, monkeypatch, value):
    monkeypatch.setattr(vectors, "EXACT_ROWS", 0)
    monkeypatch.setattr(vectors, "SCANNED", 1)
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


def test_tables_disappear_with_their_method_and_collection(opened):
    store = opened()
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    index_of(store).refresh()
    before = tables_of(store)
    assert len(before) == 1
    store.unregister(METHOD)
    assert not before & tables(store)
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    index_of(store).refresh()
    before = tables_of(store)
    drop_collection(store._database, store._name)
    assert len(before) == 1
    assert not before & tables(store)


@pytest.mark.parametrize(
    ("version", "hint"),
    [("", "install pgvector"), ("0.7.4", "ALTER EXTENSION vector UPDATE")],
    ids=["none", "old"],
)
def test_a_database_without_the_extension_names_what_to_install(opened, monkeypatch, version, hint):
    store = opened()
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    run = store._database.run

    class Refusing:
        def __init__(self, connection):
            self._connection = connection

        def execute(self, statement, *arguments):
            if "pg_extension" in statement:
                statement = f"SELECT {version!r} WHERE {version != ''}"
            statement = statement.replace("EXTENSION IF NOT EXISTS vector", "EXTENSION nothing_like_this")
            return self._connection.execute(statement, *arguments)

    monkeypatch.setattr(store._database, "run", lambda work: run(lambda connection: work(Refusing(connection))))
    with pytest.raises(StoreError, match=r"extension vector 0\.8") as caught:
        index_of(store).refresh()
    assert hint in caught.value.hint
    assert index_of(store).state().waiting == 30


def test_roles_with_few_rights(postgres, opened):
    """A user that may only change rows searches and writes; what it may not do says so, or is left to others."""
    name = f"vectors {next(_numbers)}"
    owner = opened(name)
    put(owner, LOCAL, {str(seed): seed for seed in range(30)})
    database = owner._database.shown.rpartition("/")[2]
    for statement in (
        "CREATE ROLE vector_reader LOGIN PASSWORD 'few'",
        "GRANT USAGE ON SCHEMA imagefinder TO vector_reader",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA imagefinder TO vector_reader",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA imagefinder TO vector_reader",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA imagefinder GRANT SELECT, INSERT, DELETE ON TABLES TO vector_reader",
    ):
        postgres.execute(statement, database)
    url = f"postgresql://vector_reader:few@127.0.0.1:{postgres.port}/{database}"
    app = open_store(url, 0, Path(name))
    app.use_models(read_model)
    try:
        with pytest.raises(StoreError, match="cannot store vectors") as caught:
            index_of(app).refresh()
        assert "GRANT CREATE ON SCHEMA imagefinder" in caught.value.hint
        index_of(owner).refresh()
        put(app, LOCAL, {"new": 100})
        index = index_of(app)
        assert names(app, index, features(LOCAL, 100), 1)[0] == "new"
        assert not index.refresh()
        (table,) = tables_of(owner)
        app.unregister(METHOD)
        assert table in tables(owner)  # left to its owner
        put(owner, LOCAL, {"other": 1})
        index_of(owner).refresh()
        assert table not in tables(owner)
    finally:
        app.close()


def test_local_features_alone_get_twice_as_many_candidates(opened):
    store = opened()
    put(store, LOCAL, {str(seed): seed for seed in range(30)})
    index = index_of(store)
    index.refresh()
    assert len(index.propose(features(LOCAL, 7), 5)[0].keys) == 10
    store.register(Fingerprint("other", 1), GLOBAL)
    assert index.state().waiting == 0
    assert len(index.propose(features(LOCAL, 7), 5)[0].keys) == 5
