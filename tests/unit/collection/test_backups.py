import pytest

import imagefinder
from imagefinder.collection.backups import with_backups
from imagefinder.core.errors import StoreError
from imagefinder.core.settings import Settings
from imagefinder.stores.embedded import EmbeddedStore


def test_a_store_without_backups_says_what_to_do(tmp_path):
    with imagefinder.open(settings=Settings(store="memory")) as collection:
        with pytest.raises(StoreError, match="memory cannot be backed up") as caught:
            collection.backup(tmp_path / "copy")
        assert "export" in caught.value.hint
    assert not (tmp_path / "copy").exists()


def test_a_store_with_backups_is_returned(tmp_path):
    store = EmbeddedStore(tmp_path, create=True, cache_bytes=0)
    assert with_backups(store) is store
    store.close()
