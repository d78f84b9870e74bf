import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from imagefinder.core.features import FeatureSpec, GlobalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.stores.embedded import EmbeddedStore
from imagefinder.stores.embedded.feed import Position
from imagefinder.stores.embedded.recovery import recover
from imagefinder.stores.embedded.schema import FILE_NAME, REMOVALS_KEPT
from imagefinder.testing.stores.feed import Follower


def put(store, *names):
    store.register(Fingerprint("m", 1), FeatureSpec("global", 2, "float32"))
    vector = GlobalFeatures(np.ones((1, 2), np.float32))
    store.put([Entry(ImageRecord(name, "", "", 1, 1, 1, ""), {"m": vector}) for name in names])


@pytest.fixture
def store(tmp_path):
    with closing(EmbeddedStore(tmp_path / "c", create=True, cache_bytes=0)) as store:
        put(store, "a", "b", "c")
        yield store


def followed(store):
    follower = Follower("m")
    follower.follow(store)
    return follower


def skip_removals(folder, count):
    with closing(sqlite3.connect(folder / FILE_NAME)) as database:
        database.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'gone'", (count,))
        database.commit()


@pytest.mark.parametrize("beyond", [False, True])
def test_a_follower_that_is_behind_the_record_of_removals_lists_everything(store, tmp_path, beyond):
    store.delete(["a"])
    follower = followed(store)
    skip_removals(tmp_path / "c", REMOVALS_KEPT - 1 + beyond)
    store.delete(["b"])
    assert follower.follow(store) == beyond
    assert follower.ids(store) == {"c"}


def test_the_record_of_removals_is_bounded(store, tmp_path):
    store.delete(["a"])
    skip_removals(tmp_path / "c", REMOVALS_KEPT)
    store.delete(["b"])
    with store._connections.reading() as database:
        assert database.execute("SELECT count(*) FROM gone").fetchone() == (1,)


def test_a_removed_method_does_not_fill_the_record(store):
    store.unregister("m")
    with store._connections.reading() as database:
        assert database.execute("SELECT count(*) FROM gone").fetchone() == (0,)


def test_a_poll_without_changes_lists_no_features(store):
    follower = followed(store)
    with store._connections.reading() as database:
        statements = []
        database.set_trace_callback(statements.append)
    assert not store.changes("m", follower.cursor).any
    with store._connections.reading() as database:
        database.set_trace_callback(None)
    assert [text for text in statements if "sqlite_sequence" in text]
    assert not [text for text in statements if "ORDER BY key" in text]


@pytest.mark.parametrize("again", ["a", "other"])
def test_an_earlier_file_that_is_put_back_lists_everything(tmp_path, again):
    folder = tmp_path / "c"
    with closing(EmbeddedStore(folder, create=True, cache_bytes=0)) as store:
        put(store, "a", "b")
    shutil.copy(folder / FILE_NAME, tmp_path / "kept")
    with closing(EmbeddedStore(folder, create=True, cache_bytes=0)) as store:
        put(store, "lost")
        follower = followed(store)
    shutil.copy(tmp_path / "kept", folder / FILE_NAME)
    with closing(EmbeddedStore(folder, create=True, cache_bytes=0)) as store:
        put(store, again, "last")
        assert store.changes("m", follower.cursor).complete
        assert followed(store).ids(store) == {"a", "b", again, "last"}


def test_a_backup_begins_its_own_history(store, tmp_path):
    follower = followed(store)
    store.backup(tmp_path / "copy")
    with closing(EmbeddedStore(tmp_path / "copy", create=False, cache_bytes=0)) as copy:
        assert follower.follow(copy)
        assert follower.ids(copy) == {"a", "b", "c"}
    assert not store.changes("m", followed(store).cursor).complete


def test_a_recovered_collection_gives_no_key_again(store, tmp_path):
    follower = followed(store)
    keys = set(follower.keys)
    store.delete(["c"])
    store.close()
    recover(tmp_path / "c")
    with closing(EmbeddedStore(tmp_path / "c", create=False, cache_bytes=0)) as recovered:
        put(recovered, "new")
        assert follower.follow(recovered)
        assert follower.ids(recovered) == {"a", "b", "new"}
        assert len(follower.keys - keys) == 1
        assert recovered.check() == []


def test_a_position_is_the_same_after_a_round_trip():
    position = Position("5f", 1, 2, -1, 4)
    assert Position.parse(position.cursor()) == position
    assert Position.parse(f"5f.1.2.3.{1 << 63}") is None
