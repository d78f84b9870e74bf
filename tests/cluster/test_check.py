from __future__ import annotations

import pytest
from postgres_stores import open_store

from imagefinder.core.errors import CollectionCorruptError, CollectionFormatError, CollectionNotFoundError
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import ThumbnailFeatures
from imagefinder.stores.distributed import schema
from imagefinder.stores.distributed.address import Address
from imagefinder.stores.distributed.pool import Database
from imagefinder.stores.distributed.store import DistributedStore
from imagefinder.testing.stores.samples import entry, features, register


@pytest.fixture
def url(postgres):
    return postgres.url(postgres.new_database())


@pytest.fixture
def store(url, tmp_path):
    made = open_store(url, 0, tmp_path)
    register(made)
    made.put([entry("a", 1), entry("b", 2), entry("nul\0é", 3)])
    made.put_thumbnail_features(
        {"a": ThumbnailFeatures(Fingerprint("thumbnails", 1, {}), features("points", 7))},
        {"a": entry("a", 1).thumbnail},
    )
    yield made
    made.close()


DAMAGE = {
    "record": ("UPDATE images SET width = 641 WHERE id = 'a'", "record", lambda s: s.get("a")),
    "metadata": ("UPDATE images SET metadata = '[]' WHERE id = 'a'", "record", lambda s: s.get("a")),
    "id": (r"UPDATE images SET id = '\xff' WHERE id = 'a'", "record", lambda s: s.images()),
    "thumbnail": ("UPDATE images SET jpeg = 'x' WHERE id = 'a'", "thumbnail", lambda s: s.thumbnail("a")),
    "lost thumbnail": ("UPDATE images SET jpeg = NULL WHERE id = 'a'", "thumbnail", lambda s: s.thumbnail("a")),
    "features": (
        "UPDATE features SET data = set_byte(data, 20, get_byte(data, 20) # 1) WHERE image ="
        " (SELECT key FROM images WHERE id = 'a') AND method = (SELECT key FROM methods WHERE name = 'points')",
        "features",
        lambda s: s.features("a", "points"),
    ),
    "features of another image": (
        "UPDATE features SET data = (SELECT data FROM features JOIN images ON image = images.key WHERE id = 'b'"
        " AND method = (SELECT key FROM methods WHERE name = 'points')) WHERE image ="
        " (SELECT key FROM images WHERE id = 'a') AND method = (SELECT key FROM methods WHERE name = 'points')",
        "features",
        lambda s: list(s.scan("points")),
    ),
    "features of a thumbnail": ("UPDATE thumbnail_features SET data = 'x'", "features", None),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_repaired(store, damage):
    statement, kind, read = DAMAGE[damage]
    store._write(lambda connection, _: connection.execute(statement))
    if read is not None:
        with pytest.raises(CollectionCorruptError):
            read(store)
    found = [found.kind for found in store.check()]
    assert found[0] == kind  # the features of an image whose id is damaged are damaged as well
    assert len(found) == 1 or damage == "id"
    assert [bool(found.repaired) for found in store.check(repair=True)] == [True]
    assert store.check() == []
    assert store.get("b").id == "b"


def test_wrong_counts_are_corrected(store):
    store._write(lambda connection, _: connection.execute("UPDATE counts SET images = images + 1"))
    assert {found.kind for found in store.check()} == {"counts"}
    assert all(found.repaired for found in store.check(repair=True))
    assert store.check() == []
    assert store.info().images == 3


def test_newer_tables_are_refused_unless_they_can_be_used(store, url):
    def versions(version, oldest):
        store._write(
            lambda connection, _: connection.execute(
                "UPDATE versions SET version = %s, oldest = %s WHERE part = 'store'", [version, oldest]
            )
        )

    database = Database(Address.of_database(url))
    versions(9, 1)
    assert schema.prepare(database, schema.STORE, create=False)
    versions(9, 9)
    with pytest.raises(CollectionFormatError, match="newer version 9; this version of imagefinder requires 4"):
        schema.prepare(database, schema.STORE, create=False)
    database.close()


def test_tables_are_migrated_once(url):
    first = schema.Tables("toy", (["CREATE TABLE toys (n integer)", "INSERT INTO toys VALUES (1)"],))
    second = schema.Tables("toy", (*first.versions, ["UPDATE toys SET n = n + 1"]))
    database = Database(Address.of_database(url))
    assert not schema.prepare(database, first, create=False)
    for part in (first, first, second, second, first):
        assert schema.prepare(database, part, create=True)
    assert database.read(lambda connection: connection.execute("SELECT n FROM toys").fetchall()) == [(2,)]
    database.close()


def test_dropped_collection_leaves_no_rows(store, url):
    database = Database(Address.of_database(url))
    other = DistributedStore(Database(Address.of_database(url)), "other", create=True, cache_bytes=0)
    register(other)
    other.put([entry("a", 1)])
    assert schema.drop_collection(database, store._name)
    assert not schema.drop_collection(database, store._name)
    for table in (*schema.OWNED, "methods"):
        count = f"SELECT count(*) FROM {table} WHERE collection = %s"
        rows = database.read(lambda c, count=count: c.execute(count, [store._collection]).fetchone())
        assert rows == (0,), table
    assert other.check() == []
    other.close()
    with pytest.raises(CollectionNotFoundError, match="there is no collection"):
        DistributedStore(Database(Address.of_database(url)), store._name, create=False, cache_bytes=0)
    database.close()
