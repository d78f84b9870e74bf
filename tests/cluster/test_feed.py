from __future__ import annotations

import numpy as np
import psycopg
import pytest
from postgres_stores import open_store

from imagefinder.core.errors import CollectionCorruptError
from imagefinder.stores.distributed import feed, method_rows
from imagefinder.testing.stores.feed import Follower
from imagefinder.testing.stores.samples import entry, register


@pytest.fixture
def url(postgres):
    return postgres.url(postgres.new_database())


@pytest.fixture
def store(url, tmp_path):
    made = open_store(url, 0, tmp_path)
    register(made)
    yield made
    made.close()


def test_transaction_that_commits_late_is_not_missed(store, url, tmp_path):
    """Its key is smaller than that of a transaction that committed before it."""
    follower = Follower()
    store.put([entry("first", 1)])
    with psycopg.connect(url) as late:
        late.execute("SET search_path = imagefinder")
        # The image of another writer, whose features were inserted but are not committed yet.
        late.execute("CREATE TEMP TABLE moved AS SELECT * FROM features ORDER BY key LIMIT 1")
        late.execute(
            "INSERT INTO features (collection, method, image, key, bytes, checksum, hash, data)"
            " SELECT collection, method, -1, nextval('keys'), bytes, checksum, hash, data FROM moved"
        )
        late.execute(
            "INSERT INTO counts (collection, method, images, bytes) SELECT collection, method, 1, 1 FROM moved"
        )
        method = late.execute(
            "SELECT convert_from(name, 'UTF8') FROM methods WHERE key = (SELECT method FROM moved)"
        ).fetchone()[0]
        follower.method = method
        store.put([entry("second", 2)])
        follower.follow(store)
        assert len(follower.keys) == 2
        late.commit()
    assert not follower.follow(store)
    assert len(follower.keys) == 3
    assert not store.changes(method, follower.cursor).any


def test_last_features_are_removed_by_an_earlier_transaction(store, url):
    """It waited for the lock of the transaction that added them; the follower need not list all features again."""
    follower = Follower()
    with psycopg.connect(url) as early:
        early.execute("SET search_path = imagefinder")
        early.execute("SELECT pg_current_xact_id()")
        store.put([entry("last", 1)])
        assert follower.follow(store)
        early.execute(
            "WITH lost AS (DELETE FROM features RETURNING collection, method, key)"
            " INSERT INTO gone (collection, method, key) SELECT collection, method, key FROM lost"
        )
        early.execute("UPDATE counts SET images = 0, bytes = 0")
        early.commit()
    assert not follower.follow(store)
    assert not follower.keys


def test_old_removals_are_forgotten(store, monkeypatch):
    monkeypatch.setattr(feed, "REMOVALS_KEPT", 3)
    early, late = Follower(), Follower()
    store.put([entry(f"{number}", number) for number in range(10)])
    early.follow(store)
    store.delete([f"{number}" for number in range(5)])
    store.delete(["5"])
    late.follow(store)
    store.delete(["6"])
    store._write(feed.forget_removals)
    assert not late.follow(store)
    assert early.follow(store), "removals it does not know are lost, so all keys are listed"
    assert early.ids(store) == late.ids(store) == {"7", "8", "9"}
    store.delete(["7"])
    assert not early.follow(store)
    assert early.ids(store) == {"8", "9"}


def test_earlier_state_of_the_database_is_another_history(store, postgres, url, tmp_path):
    """A restored backup has the same collection, but not the last changes."""
    follower = Follower()
    store.put([entry("a", 1)])
    follower.follow(store)
    database = url.rpartition("/")[2]
    store.close()
    postgres.execute(f"CREATE DATABASE {database}_backup TEMPLATE {database}")
    again = open_store(url, 0, tmp_path)
    register(again)
    again.put([entry("b", 2)])
    assert not follower.follow(again)
    again.close()
    restored = open_store(f"{url}_backup", 0, tmp_path)
    register(restored)
    follower.gone, follower.keys = set(), set()
    assert follower.follow(restored), "the last change that the follower knows is not part of this history"
    assert follower.ids(restored) == {"a"}
    restored.close()


def test_counts_are_folded(store):
    for number in range(5):
        store.put([entry(f"{number}", number)])
    store.delete(["3"])
    before = store.info()
    store._write(method_rows.fold_counts)
    assert store.info() == before
    assert store.count() == 4
    rows = store._read(lambda connection, _: connection.execute("SELECT count(*) FROM counts").fetchone())
    assert rows == (1 + len(before.methods),)


def test_listing_that_disagrees_with_the_counts_is_damage(store):
    store.put([entry("a", 1), entry("b", 2)])
    store._write(
        lambda connection, _: connection.execute(
            "DELETE FROM features WHERE image = (SELECT min(image) FROM features)"
        )
    )
    with pytest.raises(
        CollectionCorruptError, match="points features of 2 images are counted, and those of 1 exist"
    ):
        store.changes("points", None)
    found = store.check(repair=True)
    assert {damage.kind for damage in found} == {"counts"}
    assert len(store.changes("points", None).new) == 1
    assert store.check() == []


def test_features_that_are_not_registered_any_more_are_never_read(store, monkeypatch):
    """Deleting them takes a while; the process may be killed meanwhile."""
    from imagefinder.stores.distributed import writing

    store.put([entry("a", 1)])
    keys = store.changes("points", None).new
    monkeypatch.setattr(writing, "delete_orphans", lambda *_: None)
    store.unregister("points")
    assert "points" not in store.status(["a"])["a"].methods
    register(store)
    assert len(store.load("points", np.array(keys))[0]) == 0
    assert store.changes("points", None).new.tolist() == []
    assert [damage.kind for damage in store.check()][:1] == ["orphan"]
    store.check(repair=True)
    assert store.check() == []
