import pytest

import imagefinder
from imagefinder.core.errors import StoreError
from imagefinder.core.settings import Settings
from imagefinder.core.store_parts import SupportsBackup
from imagefinder.stores.embedded import EmbeddedStore
from imagefinder.stores.memory import MemoryStore


def test_a_store_without_backups_says_what_to_do(tmp_path):
    with imagefinder.open(settings=Settings(store="memory")) as collection:
        with pytest.raises(StoreError, match="memory cannot be backed up") as caught:
            collection.backup(tmp_path / "copy")
        assert "export" in caught.value.hint
    assert not (tmp_path / "copy").exists()


def test_the_embedded_store_has_backups_and_the_memory_store_has_none():
    assert issubclass(EmbeddedStore, SupportsBackup)
    assert not issubclass(MemoryStore, SupportsBackup)
