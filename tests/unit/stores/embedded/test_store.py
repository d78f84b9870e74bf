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
    return Entry(
        ImageRecord(image_id, "", "", 1, 1, 1, ""), {"points": points(seed), "vector": vector}, b"jpeg %d" % seed
    )


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
        assert "check --repair" in caught.value.hint
    assert sum(len(block.ids) for block in store.scan("vector")) == 20
    store.check(repair=True)  # as the hint says
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
        ("UPDATE methods SET fingerprint = 'x'", lambda store: store.info()),
        ("UPDATE methods SET fingerprint = '{}'", lambda store: store.info()),
        ("UPDATE methods SET kind = 'both'", lambda store: store.info()),
    ],
)
def test_damaged_text(store, database, statement, use):
    database.execute(statement)
    with pytest.raises(CollectionCorruptError, match=FILE_NAME):
        use(store)


@pytest.mark.parametrize(
    "change",
    [
        "metadata = '{'",
        "id = 'image X'",
        "width = width + 1",
        "uri = CAST(x'ff' AS TEXT)",
        "added_at = added_at + 1",
    ],
)
def test_a_damaged_record_raises(store, database, change):
    database.execute(f"UPDATE images SET {change} WHERE key = 1")
    image_id = "image X" if change.startswith("id") else "image 0"
    for use in (lambda: store.get(image_id), store.images, lambda: store.touch(image_id, uri="", stamp="")):
        with pytest.raises(CollectionCorruptError):
            use()
    assert store.images(after="image 1", limit=1)[0].id == "image 10"


def test_a_damaged_thumbnail_raises(store, database):
    database.execute("UPDATE thumbnails SET jpeg = x'00' WHERE image = 1")
    with pytest.raises(CollectionCorruptError, match="image 0"):
        store.thumbnail("image 0")


def test_the_thumbnail_of_another_image_raises(store, database):
    database.execute("DELETE FROM thumbnails WHERE image = 1")
    database.execute("UPDATE thumbnails SET image = 1 WHERE image = 2")
    with pytest.raises(CollectionCorruptError, match="image 0"):
        store.thumbnail("image 0")


def test_a_touched_record_keeps_its_checksum(store):
    store.touch("image 0", uri="file:///new", stamp="new")
    assert (store.get("image 0").uri, store.get("image 0").stamp) == ("file:///new", "new")


def test_a_wrong_image_count_raises(store, database):
    database.execute("UPDATE totals SET images = 700")
    with pytest.raises(CollectionCorruptError, match="image count"):
        store.info()


def test_an_index_that_lost_an_image_does_not_shorten_answers(store, database):
    """As damage to a page of the index may do."""
    list(store.scan("vector"))
    database.execute("UPDATE methods SET images = 21, revision = revision + 1 WHERE name = 'vector'")
    with pytest.raises(CollectionCorruptError, match="21 images"):
        list(store.scan("vector"))
    store.check(repair=True)
    assert sum(len(block.ids) for block in store.scan("vector")) == 20


@pytest.mark.parametrize("change", ["method = -127", "key = 7777"])
def test_an_entry_of_an_index_that_points_elsewhere_does_not_shorten_answers(store, tmp_path, change):
    """The index is exchanged for that of another table, of as many rows, one of which differs."""
    store.close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as database:
        database.execute("CREATE TABLE other AS SELECT key, method, bytes FROM features")
        database.execute(f"UPDATE other SET {change} WHERE key = 4")
        database.execute("CREATE TABLE copy (key INTEGER PRIMARY KEY, method INTEGER, bytes INTEGER)")
        database.execute("INSERT INTO copy SELECT * FROM other")
        database.execute("CREATE INDEX false ON copy (method, key, bytes)")
        database.execute("PRAGMA writable_schema = ON")
        database.execute(
            "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'false')"
            " WHERE name = 'features_by_method'"
        )
    with (
        closing(EmbeddedStore(tmp_path, create=False, cache_bytes=0)) as again,
        pytest.raises(CollectionCorruptError),
    ):
        list(again.scan("vector"))


def test_images_with_damaged_metadata_are_not_skipped(store, database):
    database.execute("UPDATE images SET metadata = ?", ('{"a',))
    for conditions in ({"where": parse({"a": 1})}, {"contains": "x"}, {}):
        with pytest.raises(CollectionCorruptError):
            store.images(**conditions)


def test_scans_share_read_only_blocks(store):
    (first,), (second,) = store.scan("vector"), store.scan("vector")
    assert first is second
    with pytest.raises(ValueError, match="read-only"):
        first.features.vectors[0, 0] = 1
    store.delete(["image 3"])
    (third,) = store.scan("vector")
    assert not third.features.vectors.flags.writeable
    assert len(third.ids) == 19


def test_only_a_replaced_image_is_read_again(store):
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


def test_a_folder_of_derived_data_that_cannot_be_written_is_reported_once(tmp_path, caplog):
    store = EmbeddedStore(tmp_path / "c", create=True, cache_bytes=0)
    (tmp_path / "c" / "index").write_bytes(b"a file where a folder should be")
    for _ in range(2):
        store.put_derived("model.json", b"data")
    store.close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "index cannot be written" in caplog.text


def test_derived_data_can_be_deleted_and_cannot_be_in_the_way(tmp_path):
    store = EmbeddedStore(tmp_path / "c", create=True, cache_bytes=0)
    store.put_derived("model.json", b"data")
    assert sorted(path.name for path in (tmp_path / "c" / "index").iterdir()) == ["model.json"]
    shutil.rmtree(tmp_path / "c" / "index")
    assert store.derived("model.json") is None
    (tmp_path / "c" / "index").write_bytes(b"a file where a folder should be")
    store.put_derived("model.json", b"data")
    assert store.derived("model.json") is None
    store.close()
    EmbeddedStore(tmp_path / "c", create=False, cache_bytes=0).close()


def statements(store, use):
    """The SQL statements that a call executes, without those that begin and end transactions."""
    seen = []
    with store._connections.reading() as connection:
        connection.set_trace_callback(seen.append)
    use()
    with store._connections.reading() as connection:
        connection.set_trace_callback(None)
    return [one for one in seen if not one.startswith(("BEGIN", "ROLLBACK"))]


@pytest.mark.parametrize("many", [1, 20])
def test_batches_are_read_in_a_fixed_number_of_statements(store, many):
    ids = [f"image {number}" for number in range(many)]
    assert len(statements(store, lambda: store.records(ids))) == 1
    assert len(statements(store, lambda: store.thumbnails(ids))) == 1
    assert len(statements(store, lambda: store.select("points", ids))) == 2  # its spec, and the rows


def test_a_selection_does_not_read_the_other_images(store, database):
    (query,) = [one for one in statements(store, lambda: store.select("vector", ["image 3"])) if "data" in one]
    plan = "; ".join(row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {query}"))
    assert "images USING" in plan.split(";")[0]
    assert "id=?" in plan.split(";")[0]
    assert "image=? AND method=?" in plan


def test_a_damaged_record_or_thumbnail_is_found_in_a_batch(store, database):
    ids = [f"image {number}" for number in range(20)]
    database.execute("UPDATE thumbnails SET jpeg = x'00' WHERE image = 5")
    with pytest.raises(CollectionCorruptError, match="image 4"):
        store.thumbnails(ids)
    database.execute("UPDATE images SET width = 7 WHERE key = 6")
    with pytest.raises(CollectionCorruptError, match="image 5"):
        store.records(ids)


def test_damaged_metadata_are_found_by_a_filter(store, database):
    keys = np.arange(1, 41, dtype=np.int64)
    assert len(store.load("points", keys, where=parse({}))[0]) == 20
    database.execute("UPDATE images SET metadata = '{\"a\": 1}' WHERE key = 6")
    for where in (parse({"a": 1}), parse({"not": {"b": 1}})):
        for use in (store.count, store.matching, lambda where: store.load("points", keys, where=where)):
            with pytest.raises(CollectionCorruptError, match="image 5"):
                use(where)
    assert store.count() == 20
