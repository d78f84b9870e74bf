import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from imagefinder.core.errors import CollectionCorruptError
from imagefinder.core.features import FeatureSpec, GlobalFeatures, LocalFeatures
from imagefinder.core.filters import parse
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.stores.embedded import EmbeddedStore
from imagefinder.stores.embedded.schema import FILE_NAME


def points(seed):
    generator = np.random.default_rng(seed)
    return LocalFeatures(
        generator.integers(0, 256, (300, 128), dtype=np.uint8),
        generator.random((300, 4), dtype=np.float32),
        np.array([0, 300], dtype=np.int64),
    )


def entry(image_id, seed):
    vector = GlobalFeatures(np.full((1, 8), seed, dtype=np.float32))
    return Entry(ImageRecord(image_id, "", "", 1, 1, 1, ""), {"points": points(seed), "vector": vector}, b"jpeg")


@pytest.fixture
def store(tmp_path):
    with closing(EmbeddedStore(tmp_path, create=True, cache_bytes=1 << 30)) as store:
        store.register(Fingerprint("points", 1), FeatureSpec("local", 128, "uint8"))
        store.register(Fingerprint("vector", 1), FeatureSpec("global", 8, "float32"))
        store.put([entry(f"image {number}", number) for number in range(20)])
        yield store


@pytest.fixture
def database(tmp_path, store):
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as database:
        yield database


@pytest.mark.parametrize("column", ["data", "keypoints"])
def test_a_flipped_bit_is_found_and_the_image_named(store, database, column):
    (blob,) = database.execute(f"SELECT {column} FROM features WHERE key = 15").fetchone()
    (image_id,) = database.execute(
        "SELECT id FROM images JOIN features ON image = images.key WHERE features.key = 15"
    ).fetchone()
    damaged = bytearray(blob)
    damaged[1000] ^= 4
    database.execute(f"UPDATE features SET {column} = ? WHERE key = 15", (bytes(damaged),))
    for use in (lambda: store.features(image_id, "points"), lambda: list(store.scan("points"))):
        with pytest.raises(CollectionCorruptError, match=image_id) as caught:
            use()
        assert image_id in caught.value.hint
    assert sum(len(block.ids) for block in store.scan("vector")) == 20
    store.delete([image_id])  # as the hint says
    assert sum(len(block.ids) for block in store.scan("points")) == 19


def test_features_under_another_image_are_found(store, database):
    database.execute("UPDATE features SET image = 1000 WHERE image = 1")
    database.execute("UPDATE features SET image = 1 WHERE image = 2")
    database.execute("UPDATE features SET image = 2 WHERE image = 1000")
    with pytest.raises(CollectionCorruptError):
        store.features("image 0", "vector")
    with pytest.raises(CollectionCorruptError):
        list(store.scan("points"))


@pytest.mark.parametrize(
    ("statement", "use"),
    [
        ("UPDATE images SET metadata = '{\"a'", lambda store: store.get("image 0")),
        ("UPDATE images SET metadata = '{\"a'", lambda store: store.images()),
        ("UPDATE images SET metadata = '{\"a'", lambda store: store.images(where=parse({"a": 1}))),
        ("UPDATE images SET metadata = '{\"a'", lambda store: store.images(contains="x")),
        ("UPDATE methods SET fingerprint = 'x'", lambda store: store.info()),
    ],
)
def test_damaged_text(store, database, statement, use):
    database.execute(statement)
    with pytest.raises(CollectionCorruptError, match=FILE_NAME):
        use(store)


def test_scans_share_blocks_that_nobody_can_change(store):
    (first,), (second,) = store.scan("vector"), store.scan("vector")
    assert first is second
    with pytest.raises(ValueError, match="read-only"):
        first.features.vectors[0, 0] = 1
    store.delete(["image 3"])
    (third,) = store.scan("vector")
    assert not third.features.vectors.flags.writeable
    assert len(third.ids) == 19


def test_a_replaced_image_is_read_anew_and_others_are_not(store):
    list(store.scan("vector"))
    store.put([entry("image 3", 99)])
    before, after = list(store.scan("vector")), list(store.scan("vector"))
    found = {i: block.features.vectors[n, 0] for block in after for n, i in enumerate(block.ids)}
    assert found == {**{f"image {number}": number for number in range(20)}, "image 3": 99}
    assert [block.ids for block in after] == [
        tuple(f"image {number}" for number in range(20) if number != 3),
        ("image 3",),
    ]
    assert [id(block) for block in before] == [id(block) for block in after]


def test_counts_agree_with_the_tables(store, database):
    store.put([entry("image 3", 99), entry("new", 5)])
    store.delete(["image 7", "image 8"])
    store.put_features("new", {"vector": GlobalFeatures(np.ones((1, 8), dtype=np.float32))})
    store.unregister("points")
    assert (
        database.execute("SELECT images FROM totals").fetchall()
        == database.execute("SELECT count(*) FROM images").fetchall()
    )
    assert (
        database.execute("SELECT key, images, bytes FROM methods").fetchall()
        == database.execute(
            "SELECT method, count(*), sum(length(data) + ifnull(length(keypoints), 0)) FROM features GROUP BY 1"
        ).fetchall()
    )
    assert database.execute("SELECT count(*) FROM thumbnails").fetchone() == (19,)
    assert database.execute("PRAGMA foreign_key_check").fetchall() == []


def test_space_of_deleted_images_is_used_again(store, tmp_path):
    sizes = []
    for turn in range(6):
        with closing(EmbeddedStore(tmp_path, create=False, cache_bytes=0)) as writer:
            writer.put([entry(f"image {number}", number + turn) for number in range(20)])
        store.close()  # the last one out leaves one file
        sizes.append((tmp_path / FILE_NAME).stat().st_size)
    assert max(sizes) <= 2.1 * sizes[0]
    assert len(set(sizes[2:])) == 1


def test_derived_data_can_be_deleted_and_cannot_be_in_the_way(tmp_path):
    store = EmbeddedStore(tmp_path / "c", create=True, cache_bytes=0)
    store.put_derived("learned.json", b"data")
    assert sorted(path.name for path in (tmp_path / "c" / "index").iterdir()) == ["learned.json"]
    shutil.rmtree(tmp_path / "c" / "index")
    assert store.derived("learned.json") is None
    (tmp_path / "c" / "index").write_bytes(b"a file where a folder should be")
    store.put_derived("learned.json", b"data")
    assert store.derived("learned.json") is None
    store.close()
    EmbeddedStore(tmp_path / "c", create=False, cache_bytes=0).close()
