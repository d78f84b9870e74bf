import sqlite3
from contextlib import closing

import numpy as np
import pytest

from imagefinder.core.features import FeatureSpec, GlobalFeatures, LocalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.stores.embedded import EmbeddedStore
from imagefinder.stores.embedded.schema import FILE_NAME
from imagefinder.testing.stores.samples import data_of


def entry(number):
    generator = np.random.default_rng(number)
    points = LocalFeatures(
        generator.integers(0, 256, (20, 128), dtype=np.uint8),
        generator.random((20, 4), dtype=np.float32),
        np.array([0, 20], dtype=np.int64),
    )
    vector = GlobalFeatures(generator.random((1, 8), dtype=np.float32))
    record = ImageRecord(f"image {number}", "", "", 1, 1, 1, "")
    return Entry(record, {"points": points, "vector": vector}, b"jpeg %d" % number)


@pytest.fixture
def store(tmp_path):
    with closing(EmbeddedStore(tmp_path, create=True, cache_bytes=1 << 30)) as store:
        store.register(Fingerprint("points", 1), FeatureSpec("local", 128, "uint8"))
        store.register(Fingerprint("vector", 1), FeatureSpec("global", 8, "float32"))
        store.put([entry(number) for number in range(100)])
        yield store


@pytest.fixture
def database(tmp_path, store):
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as database:
        yield database


@pytest.mark.parametrize(
    ("statement", "kind", "image", "method", "images", "vectors"),
    [
        ("UPDATE features SET data = x'00' WHERE key = 4", "features", "image 1", "vector", 100, 99),
        ("UPDATE features SET bytes = bytes + 1 WHERE key = 4", "features", "image 1", "vector", 100, 99),
        ("UPDATE features SET keypoints = x'00' WHERE key = 4", "features", "image 1", "vector", 100, 99),
        ("UPDATE images SET width = 2 WHERE key = 7", "record", "image 6", "", 99, 99),
        ("UPDATE images SET metadata = '[' WHERE key = 7", "record", "image 6", "", 99, 99),
        ("UPDATE thumbnails SET jpeg = x'00' WHERE image = 7", "thumbnail", "image 6", "", 100, 100),
        ("DELETE FROM thumbnails WHERE image = 7", "thumbnail", "image 6", "", 100, 100),
        ("UPDATE totals SET images = 3", "counts", "", "", 100, 100),
        ("UPDATE totals SET mirror = 3", "counts", "", "", 100, 100),
        ("UPDATE images SET uri = CAST(x'ff' AS TEXT) WHERE key = 7", "record", "image 6", "", 99, 99),
        ("DELETE FROM totals", "counts", "", "", 100, 100),
        ("UPDATE methods SET images = 3 WHERE name = 'vector'", "counts", "", "vector", 100, 100),
        ("UPDATE methods SET bytes = 3 WHERE name = 'vector'", "counts", "", "vector", 100, 100),
        ("UPDATE methods SET fingerprint = '{' WHERE name = 'points'", "method", "", "points", 100, 100),
        ("UPDATE methods SET kind = 'lokal' WHERE name = 'points'", "method", "", "points", 100, 100),
        ("INSERT INTO thumbnails VALUES (1000, x'00')", "orphan", "", "", 100, 100),
    ],
)
def test_damage_is_found_and_repaired(store, database, statement, kind, image, method, images, vectors):
    assert store.check() == []
    database.execute(statement)
    found, *_ = store.check()
    assert (found.kind, found.image_id, found.method, found.repaired) == (kind, image, method, "")
    again, *rest = store.check(repair=True)
    assert all(damage.repaired for damage in (again, *rest))
    assert again.message == found.message
    assert store.check() == []
    assert store.info().images == len(store.images(limit=1000)) == images
    assert (
        sum(len(block.ids) for block in store.scan("vector")) == store.info().methods["vector"].images == vectors
    )
    for record in store.images(limit=1000):
        store.thumbnail(record.id)


def test_features_of_a_missing_image(store, database):
    database.execute("PRAGMA foreign_keys = OFF")
    database.execute("DELETE FROM images WHERE key = 3")
    database.execute(
        "INSERT INTO images SELECT 3, 'x', uri, sha256, 1, 1, 1, '', '', '', '{}', 1, NULL, 1 FROM images LIMIT 1"
    )
    database.execute("UPDATE features SET image = 5000 WHERE key = 2")
    found = {damage.kind for damage in store.check()}
    assert found >= {"record", "orphan", "features"}
    assert all(damage.repaired for damage in store.check(repair=True))
    assert store.check() == []


def test_thumbnails_that_are_not_images(store):
    found = store.check(sound_thumbnail=lambda jpeg: jpeg != b"jpeg 5")
    assert [(damage.kind, damage.image_id) for damage in found] == [("thumbnail", "image 5")]
    store.check(repair=True, sound_thumbnail=lambda jpeg: jpeg != b"jpeg 5")
    assert store.thumbnail("image 5") == b""
    assert store.thumbnail("image 6") == b"jpeg 6"


@pytest.mark.parametrize("data", [b"right", b"wrong"])
def test_derived_data(store, tmp_path, data):
    store.put_derived("x.json", data)
    found = store.check(sound_derived=lambda name, data: data == b"right")
    assert [damage.kind for damage in found] == ["derived"] * (data == b"wrong")
    store.check(repair=True, sound_derived=lambda name, data: data == b"right")
    assert data_of(store, "x.json") == (data if data == b"right" else None)


def test_a_file_in_place_of_the_derived_folder(store, tmp_path):
    (tmp_path / "index").write_bytes(b"")
    assert [damage.kind for damage in store.check()] == ["derived"]
    store.check(repair=True)
    store.put_derived("x", b"data")
    assert data_of(store, "x") == b"data"


@pytest.mark.parametrize("index", ["features_by_method", "images_by_source"])
def test_an_index_is_rebuilt(store, database, tmp_path, index):
    """Its root page is replaced by an empty one, as if entries had been lost."""
    (root,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (index,)).fetchone()
    (size,) = database.execute("PRAGMA page_size").fetchone()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with (tmp_path / FILE_NAME).open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(bytes([10, 0, 0, 0, 0, size >> 8, size & 255, 0]))
    database.close()
    store.close()
    with closing(EmbeddedStore(tmp_path, create=False, cache_bytes=0)) as store:
        assert {damage.kind for damage in store.check()} == {"database"}
        assert {damage.repaired for damage in store.check(repair=True)} == {"the indexes were rebuilt"}
        assert store.check() == []
        assert sum(len(block.ids) for block in store.scan("points")) == 100
        assert len(store.images(limit=1000, source="")) == 100
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize(
    "statement",
    ["DROP TRIGGER features_added", "DROP INDEX images_by_source", "CREATE TABLE more (x)"],
)
def test_an_unexpected_schema(store, database, tmp_path, statement):
    database.execute(statement)
    (found,) = store.check()
    assert (found.kind, found.repaired) == ("database", "")
    database.close()
    (found,) = store.check(repair=True)
    assert "100 images" in found.repaired
    assert store.check() == []
    assert len(store.images(limit=1000)) == 100


def test_progress(store):
    seen = []
    store.check(progress=lambda *pair: seen.append(pair))
    assert seen[-1] == (300, 300)
    assert seen == sorted(seen)


def test_writers_go_on_during_a_check(store):
    """The check does not run forever, either."""
    store.check(progress=lambda done, total: store.put([entry(200 + number) for number in range(70)]))
    assert store.check() == []
