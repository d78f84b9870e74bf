import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from imagefinder.core.errors import CollectionCorruptError
from imagefinder.core.file_metadata import NO_FILE_METADATA, FileMetadata
from imagefinder.stores.embedded import EmbeddedStore
from imagefinder.stores.embedded.schema import FILE_NAME
from imagefinder.testing.stores.samples import entry, register

FIXTURES = Path(__file__).parents[3] / "fixtures" / "collections"
FOUND = FileMetadata({"exif": {"taken": "2024-01-02"}}, "1", "s", "b")


def opened(folder, *, create=True):
    return closing(EmbeddedStore(folder, create=create, cache_bytes=0))


@pytest.mark.parametrize("change", ["properties = '{}'", "stack = 'x'", "properties = '{'", "file_stamp = '2'"])
def test_damage_is_found_and_dropped(tmp_path, change):
    with opened(tmp_path) as store:
        register(store)
        store.put([entry("a", 1, file_metadata=FOUND), entry("b", 2, file_metadata=FOUND)])
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        database.execute(f"UPDATE file_metadata SET {change} WHERE image = 1")
        database.commit()
    with opened(tmp_path) as store:
        with pytest.raises(CollectionCorruptError, match="file metadata of image 'a'"):
            store.get("a")
        found = [(damage.kind, damage.image_id) for damage in store.check() if damage.kind != "counts"]
        assert found == [("record", "a")]
        assert "the next add" in store.check(repair=True)[0].repaired
        assert store.check() == []
        assert store.get("a").file_metadata == NO_FILE_METADATA
        assert store.get("b").file_metadata == FOUND


def test_a_collection_of_the_format_before_is_opened_and_extended(tmp_path):
    folder = shutil.copytree(FIXTURES / "format-4", tmp_path / "c")
    with opened(folder, create=False) as store:
        (first, *_) = store.images()
        assert first.file_metadata == NO_FILE_METADATA
        assert store.status([first.id])[first.id].file_stamp == ""
        store.put_file_metadata({first.id: FOUND})
        assert store.get(first.id).file_metadata == FOUND
        assert store.check() == []


def test_a_wrong_count_of_stacks_is_corrected(tmp_path):
    with opened(tmp_path) as store:
        register(store)
        store.put([entry("a", 1, file_metadata=FOUND), entry("b", 2, file_metadata=FOUND)])
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        database.execute("UPDATE totals SET stacked = 7")
        database.commit()
    with opened(tmp_path) as store:
        assert [damage.kind for damage in store.check()] == ["counts"]
        assert [damage.repaired for damage in store.check(repair=True)] == ["corrected"]
        assert store.check() == []
        assert store.count(stacks=True) == 1
