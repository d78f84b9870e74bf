"""The index over a table of vectors in memory; tests/cluster tests it over PostgreSQL."""

import numpy as np
import pytest

from imagefinder.ann import aggregate, vector_index
from imagefinder.ann.vector_index import VectorIndex
from imagefinder.core.errors import ShortlistUnavailableError, StoreError, StoreUnavailableError
from imagefinder.core.features import FeatureSpec
from imagefinder.core.vector_table import VectorModel
from imagefinder.stores.memory import MemoryStore
from imagefinder.testing.ann_indexes import METHOD, AnnIndexSuite, features, put

SPEC = FeatureSpec("local", 128, "uint8")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(aggregate, "CENTRES", 8)
    monkeypatch.setattr(aggregate, "REDUCED_DIM", 24)
    monkeypatch.setattr(aggregate, "DIM", 128)


class MemoryTable:
    """A table of vectors that the store does not write to, so new images wait for ``refresh``."""

    def __init__(self, store):
        self.store, self.made = store, {}
        self.is_damaged = False

    def existing(self):
        return self.store.changes(METHOD, None).new.tolist()

    def models(self):
        fingerprint = METHOD in self.store.info().methods
        return [
            VectorModel(key, trained_on, not self.count_missing(key))
            for key, (_, trained_on, _) in sorted(self.made.items(), reverse=True)
            if fingerprint
        ]

    def data(self, model):
        return self.made[model][0] if model in self.made else None

    def check_support(self):
        pass

    def create(self, data, *, dim, trained_on):
        del dim
        key = max(self.made, default=0) + 1
        self.made[key] = data, trained_on, {}
        return key

    def missing(self, model, *, after=-1, limit):
        keys = [key for key in self.existing() if key not in self.made[model][2] and key > after]
        return np.array(sorted(keys)[:limit], dtype=np.int64)

    def count_missing(self, model):
        return len(self.missing(model, limit=1 << 30))

    def insert(self, model, keys, vectors):
        self.made[model][2].update(zip(keys.tolist(), vectors, strict=True))

    def finish(self, model, *, gaps):
        del gaps
        self.made = {key: made for key, made in self.made.items() if key >= model}
        return True

    def tidy(self, model):
        del model
        return False

    def nearest(self, model, queries, n, where=None):
        keys = sorted(set(self.made[self.known(model)][2]) & set(self.existing()))
        if where is not None:
            ids = set(self.store.matching(where))
            existing, block = self.store.load(METHOD, np.array(keys, dtype=np.int64))
            keys = [key for key, name in zip(existing.tolist(), block.ids, strict=True) if name in ids]
        stored = np.array([self.made[model][2][key] for key in keys], dtype=float).reshape(len(keys), -1)
        found = []
        for query in queries.astype(float):
            products = stored @ query if keys else np.empty(0)
            order = np.argsort(-products, kind="stable")[:n]
            found.append((np.array(keys, dtype=np.int64)[order], products[order]))
        return found

    def known(self, model):
        if model not in self.made:
            raise StoreError("there is no such table")
        return model

    def vectors(self, model, keys):
        return {key: self.made[model][2][key] for key in keys if key in self.made[model][2]}

    def verify(self, model):
        return [f"the copy of model {model} is damaged"] if self.is_damaged else []

    def nbytes(self, model):
        return sum(vector.nbytes for vector in self.made[model][2].values()) + 1


class TestVectorIndex(AnnIndexSuite):
    @pytest.fixture(params=["local", "global"])
    def spec(self, request):
        return {"local": SPEC, "global": FeatureSpec("global", 96, "float32")}[request.param]

    @pytest.fixture
    def make_store(self):
        return MemoryStore

    @pytest.fixture
    def make_index(self):
        tables = {}
        return lambda store, method, spec: VectorIndex(
            store, method, spec, tables.setdefault(id(store), MemoryTable(store))
        )


@pytest.fixture
def store():
    store = MemoryStore()
    put(store, SPEC, {str(seed): seed for seed in range(30)})
    return store


def test_a_collection_outgrows_a_model_of_few_images(store):
    index = VectorIndex(store, METHOD, SPEC, MemoryTable(store))
    index.refresh()
    put(store, SPEC, {str(seed): seed for seed in range(119)})
    assert not index.state().outgrown
    put(store, SPEC, {"one more": 5000})
    assert index.state().outgrown
    index.refresh(rebuild=True)
    assert not index.state().outgrown


def test_a_model_of_a_full_sample_is_never_outgrown(store, monkeypatch):
    monkeypatch.setattr(aggregate, "SAMPLE_IMAGES", 30)
    index = VectorIndex(store, METHOD, SPEC, MemoryTable(store))
    index.refresh()
    put(store, SPEC, {str(seed): seed for seed in range(200)})
    assert not index.state().outgrown


@pytest.mark.parametrize("waiting", ["no model", "incomplete model"])
def test_more_waiting_images_than_allowed_are_an_error(store, monkeypatch, waiting):
    index = VectorIndex(store, METHOD, SPEC, MemoryTable(store))
    if waiting == "incomplete model":
        index.refresh()
        put(store, SPEC, {f"new {seed}": seed for seed in range(30)})
    monkeypatch.setattr(vector_index, "MOST_WAITING", 30)
    assert np.isinf(index.propose(features(SPEC, 3), 5)[0].scores[:30]).all()
    monkeypatch.setattr(vector_index, "MOST_WAITING", 29)
    with pytest.raises(ShortlistUnavailableError, match="images"):
        index.propose(features(SPEC, 3), 5)


def test_an_engine_that_is_away_is_an_error_and_no_shorter_answer(store, monkeypatch):
    table = MemoryTable(store)
    index = VectorIndex(store, METHOD, SPEC, table)
    index.refresh()

    def away(*arguments):
        raise StoreUnavailableError("the database is not available")

    monkeypatch.setattr(table, "nearest", away)
    with pytest.raises(StoreUnavailableError):
        index.propose(features(SPEC, 3), 5)


def test_a_model_of_another_version_is_an_error_until_it_is_replaced(store, monkeypatch):
    table = MemoryTable(store)
    VectorIndex(store, METHOD, SPEC, table).refresh()
    monkeypatch.setattr(aggregate, "VERSION", aggregate.VERSION + 1)
    index = VectorIndex(store, METHOD, SPEC, table)
    with pytest.raises(ShortlistUnavailableError, match="another version"):
        index.propose(features(SPEC, 3), 5)
    assert "another version" in index.verify()[0]
    assert index.refresh()
    assert index.verify() == []
    assert len(index.propose(features(SPEC, 3), 5)[0].keys) == 10


def test_differences_from_what_is_searched_are_reported(store):
    table = MemoryTable(store)
    index = VectorIndex(store, METHOD, SPEC, table)
    index.refresh()
    table.is_damaged = True
    assert "is damaged" in index.verify()[0]


def test_the_sample_is_read_once(store, monkeypatch):
    index = VectorIndex(store, METHOD, SPEC, MemoryTable(store))
    select, calls = store.select, []
    monkeypatch.setattr(store, "select", lambda *arguments: calls.append(arguments) or select(*arguments))
    assert index.sample(5).ids == index.sample(5).ids
    assert len(calls) == 1
    store.delete([index.sample(5).ids[0]])
    index.sample(5)
    assert len(calls) == 2


def test_a_lost_lease_ends_the_build(store, monkeypatch):
    monkeypatch.setattr(vector_index, "_FILLED_AT_ONCE", 10)
    index = VectorIndex(store, METHOD, SPEC, MemoryTable(store))
    lease = store.lease

    class Lost:
        def __init__(self, inner):
            self.release, self.times = inner.release, 0

        def renew(self):
            self.times += 1
            return self.times < 3  # once after training, once after the first ten images

    monkeypatch.setattr(store, "lease", lambda *arguments: Lost(lease(*arguments)))
    assert index.refresh()
    assert index.state().waiting == 10
    monkeypatch.setattr(store, "lease", lease)
    assert index.refresh()
    assert index.state().waiting == 0
