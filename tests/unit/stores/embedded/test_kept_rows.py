"""Damage to previews and originals in the embedded store, and collections of the format before."""

import sqlite3
from contextlib import closing

import pytest

from imagefinder.core.errors import CollectionCorruptError
from imagefinder.stores.embedded.schema import FILE_NAME
from imagefinder.stores.embedded.store import EmbeddedStore
from imagefinder.testing.stores.kept import ORIGINAL, PREVIEW, uploaded
from imagefinder.testing.stores.samples import register


@pytest.fixture
def store(tmp_path):
    with closing(EmbeddedStore(tmp_path / "store", create=True, cache_bytes=0)) as store:
        register(store)
        store.put([uploaded("a", 1, preview=PREVIEW, original=ORIGINAL), uploaded("b", 2, preview=PREVIEW)])
        yield store


def execute(tmp_path, statement):
    with closing(sqlite3.connect(tmp_path / "store" / FILE_NAME)) as database:
        database.execute(statement)
        database.commit()


def test_damage_is_found_and_repaired(store, tmp_path):
    execute(tmp_path, "UPDATE kept SET data = x'ffd8' WHERE kind = 'original'")
    with pytest.raises(CollectionCorruptError, match="original"):
        store.kept(["a"], "original")
    (damage,) = store.check()
    assert (damage.kind, damage.image_id, damage.repaired) == ("kept", "a", "")
    (damage,) = store.check(repair=True)
    assert "upload" in damage.repaired
    assert store.check() == []
    assert store.kept(["a", "b"], "preview") == {"a": PREVIEW, "b": PREVIEW}
    assert store.kept(["a"], "original") == {}


def test_recovered_from_a_damaged_database(store, tmp_path):
    store.close()
    execute(tmp_path, "DROP TRIGGER features_removed")
    with closing(EmbeddedStore(tmp_path / "store", create=False, cache_bytes=0)) as opened:
        (damage,) = opened.check(repair=True)
        assert "2 images" in damage.repaired
        assert opened.kept(["a"], "original") == {"a": ORIGINAL}
        assert opened.check() == []


def test_backup_has_it(store, tmp_path):
    store.backup(tmp_path / "backup")
    with closing(EmbeddedStore(tmp_path / "backup", create=False, cache_bytes=0)) as copy:
        assert copy.kept(["a", "b"], "preview") == {"a": PREVIEW, "b": PREVIEW}
