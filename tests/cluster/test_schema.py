from __future__ import annotations

import pytest
from postgres_stores import open_store

from imagefinder.core.errors import CollectionMovedError
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
