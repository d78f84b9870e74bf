from __future__ import annotations

import pytest
from postgres_stores import open_store

from imagefinder.core.errors import CollectionMovedError
from imagefinder.core.file_metadata import FileMetadata
from imagefinder.stores.distributed import schema
from imagefinder.testing.stores.samples import entry, register


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.put([entry("b", 2)]),
        register,
        lambda store: store.put_derived("x", b"1"),
    ],
    ids=["put", "register", "derived"],
)
def test_deleted_collection_acknowledges_nothing(postgres, tmp_path, change):
    store = open_store(postgres.url(postgres.new_database()), 0, tmp_path)
    register(store)
    store.put([entry("a", 1)])
    name = store._database.read(lambda c: c.execute("SELECT name FROM collections").fetchone())[0]
    assert schema.drop_collection(store._database, name)
    assert not store.is_in_place()
    with pytest.raises(CollectionMovedError):
        change(store)
    store.close()


def test_tables_of_the_version_before_are_extended(postgres, tmp_path, monkeypatch):
    url = postgres.url(postgres.new_database())
    before = schema.Tables("store", schema.STORE.versions[:1])
    with monkeypatch.context() as patch:
        patch.setattr(schema, "STORE", before)
        database = open_store(url, 0, tmp_path)._database
    assert schema.version_of(database, schema.STORE) == 1
    store = open_store(url, 0, tmp_path)
    assert schema.version_of(store._database, schema.STORE) == len(schema.STORE.versions)
    register(store)
    found = FileMetadata({"exif": {"taken": "2024"}}, "1", "s")
    store.put([entry("a", 1), entry("b", 2, file_metadata=found)])
    store.put_file_metadata({"a": found})
    assert store.stacked(["s"]) == {"s": ["a", "b"]}
    store._database.run(lambda c: c.execute("UPDATE images SET properties = '{}' WHERE id = 'a'"))
    (damage,) = store.check(repair=True)
    assert (damage.kind, damage.image_id) == ("record", "a")
    assert store.check() == []
    assert store.get("a").file_metadata.stamp == ""
    assert store.get("b").file_metadata == found
    store.close()
