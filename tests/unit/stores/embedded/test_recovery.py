import sqlite3
from contextlib import closing

import numpy as np
import pytest

from imagefinder.core.errors import CollectionBusyError, CollectionCorruptError
from imagefinder.core.features import FeatureSpec, GlobalFeatures
from imagefinder.core.file_metadata import NO_FILE_METADATA, FileMetadata
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, Failure, ImageRecord
from imagefinder.stores.embedded import EmbeddedStore, schema
from imagefinder.stores.embedded.recovery import recover
from imagefinder.stores.embedded.schema import FILE_NAME, PAGE_BYTES

VECTORS = np.random.default_rng(0).random((60, 900), dtype=np.float32)


@pytest.fixture
def folder(tmp_path):
    with closing(EmbeddedStore(tmp_path, create=True, cache_bytes=0)) as store:
        store.register(Fingerprint("m", 1), FeatureSpec("global", 900, "float32"))
        store.put(
            [
                Entry(
                    ImageRecord(
                        *(f"{number:02}", "uri", "", 1, 1, 1, ""),
                        metadata={"n": number},
                        file_metadata=FileMetadata({"xmp": {"rating": number}}, "1", f"s{number}"),
                    ),
                    {"m": GlobalFeatures(VECTORS[number : number + 1])},
                    b"jpeg %d" % number,
                )
                for number in range(60)
            ]
        )
        store.delete(["07"])
        store.record_failures([Failure("bad", "", "c", "m"), Failure("bad", "", "c", "m")])
    return tmp_path


def intact(folder):
    """Numbers of the stored images, each of which must be intact."""
    with closing(EmbeddedStore(folder, create=False, cache_bytes=0)) as store:
        assert store.check() == []
        for block in store.scan("m"):
            for index, image_id in enumerate(block.ids):
                assert np.array_equal(block.features.image(index).vectors[0], VECTORS[int(image_id)])
                assert store.get(image_id).metadata == {"n": int(image_id)}
                read = store.get(image_id).file_metadata
                assert read in (
                    NO_FILE_METADATA,
                    FileMetadata({"xmp": {"rating": int(image_id)}}, "1", f"s{int(image_id)}"),
                )
                assert store.thumbnail(image_id) == b"jpeg %d" % int(image_id)
        return [int(record.id) for record in store.images(limit=1000)]


ALL = [number for number in range(60) if number != 7]


def test_an_intact_database_loses_nothing(folder):
    found = recover(folder)
    assert "59 images, 59 thumbnails, 1 methods, 59 features" in found.repaired
    assert intact(folder) == ALL
    with closing(EmbeddedStore(folder, create=False, cache_bytes=0)) as store:
        assert store.failures()[0].attempts == 2
        assert store.stacked([f"s{number}" for number in ALL]).keys() == {f"s{number}" for number in ALL}
    assert sorted(path.name for path in folder.iterdir()) == [FILE_NAME, f"{FILE_NAME}.damaged-1"]


@pytest.mark.parametrize("damage", [b"no database at all " * 6, b"\0" * PAGE_BYTES, b"\xff" * PAGE_BYTES])
def test_the_first_page_is_lost(folder, damage):
    """The root pages of the tables are the same in every collection."""
    before = (folder / FILE_NAME).read_bytes()
    (folder / FILE_NAME).write_bytes(damage + before[len(damage) :])
    with pytest.raises(CollectionCorruptError, match=FILE_NAME):
        EmbeddedStore(folder, create=False, cache_bytes=0)
    recover(folder)
    assert intact(folder) == ALL
    assert (folder / f"{FILE_NAME}.damaged-1").read_bytes() == damage + before[len(damage) :]


def test_a_page_of_features_is_lost(folder):
    data = bytearray((folder / FILE_NAME).read_bytes())
    page = data.index(VECTORS[30].tobytes()[:64]) // PAGE_BYTES
    data[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] = bytes(PAGE_BYTES)
    (folder / FILE_NAME).write_bytes(data)
    with closing(EmbeddedStore(folder, create=False, cache_bytes=0)) as store:
        assert store.check()
        assert all(damage.repaired for damage in store.check(repair=True))
        assert [int(record.id) for record in store.images(limit=1000)] == ALL
        left = sum(len(block.ids) for block in store.scan("m"))
    assert 50 < left < 59
    intact(folder)


def test_a_third_of_the_file_is_lost(folder):
    data = (folder / FILE_NAME).read_bytes()
    (folder / FILE_NAME).write_bytes(data[: len(data) * 2 // 3])
    found = recover(folder)
    assert found.repaired
    with closing(EmbeddedStore(folder, create=False, cache_bytes=0)) as store:
        store.check(repair=True)
    intact(folder)


@pytest.mark.parametrize("size", [0, 50, PAGE_BYTES])
def test_nothing_is_left(folder, size):
    data = (folder / FILE_NAME).read_bytes()[:size]
    (folder / FILE_NAME).write_bytes(data)
    with pytest.raises(CollectionCorruptError, match=FILE_NAME):
        recover(folder)
    assert (folder / FILE_NAME).read_bytes() == data
    assert [path.name for path in folder.iterdir()] == [FILE_NAME]


def test_another_program_has_the_collection_open(folder):
    with closing(sqlite3.connect(folder / FILE_NAME)) as other:
        other.execute("SELECT * FROM images").fetchone()
        with pytest.raises(CollectionBusyError):
            recover(folder)
    assert intact(folder) == ALL


def test_every_damaged_database_is_kept(folder):
    for _ in range(2):
        recover(folder)
    assert [path.name for path in sorted(folder.glob("*damaged*"))] == [
        f"{FILE_NAME}.damaged-1",
        f"{FILE_NAME}.damaged-2",
    ]


def test_new_collections_have_their_tables_at_the_same_pages(folder, tmp_path):
    query = "SELECT name, rootpage FROM sqlite_schema ORDER BY name"
    EmbeddedStore(tmp_path / "other", create=True, cache_bytes=0).close()
    with (
        closing(sqlite3.connect(folder / FILE_NAME)) as one,
        closing(sqlite3.connect(tmp_path / "other" / schema.FILE_NAME)) as other,
    ):
        assert one.execute(query).fetchall() == other.execute(query).fetchall()
