import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from imagefinder.core.features import LocalFeatures
from imagefinder.core.records import ThumbnailFeatures
from imagefinder.stores.embedded import EmbeddedStore, thumbnail_rows
from imagefinder.stores.embedded.recovery import recover
from imagefinder.stores.embedded.schema import FILE_NAME
from imagefinder.testing.stores.samples import content, entry
from imagefinder.testing.stores.thumbnails import MADE_BY, SPEC, made, stored, with_features


@pytest.fixture
def store(tmp_path):
    with closing(EmbeddedStore(tmp_path / "c", create=True, cache_bytes=0)) as store:
        store.put([replace(with_features(one, seed), features={}) for seed, one in enumerate("abc")])
        yield store


def change(folder, statement, *values):
    with closing(sqlite3.connect(folder / "c" / FILE_NAME, isolation_level=None)) as database:
        database.execute(statement, values)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE thumbnail_features SET data = x'00' WHERE image = 2",
        "UPDATE thumbnail_features SET data = x'' WHERE image = 2",
        "UPDATE thumbnail_features SET keypoints = substr(keypoints, 1, 9) WHERE image = 2",
        "UPDATE thumbnail_features SET checksum = checksum + 1 WHERE image = 2",
        "UPDATE thumbnail_features SET data = (SELECT data FROM thumbnail_features WHERE image = 1)"
        " WHERE image = 2",
    ],
)
def test_damaged_features_are_left_out_found_and_dropped(store, tmp_path, statement):
    change(tmp_path, statement)
    assert set(stored(store, "a", "b", "c")) == {"a", "c"}
    (found,) = store.check()
    assert (found.kind, found.image_id, found.repaired) == ("features", "b", "")
    (found,) = store.check(repair=True)
    assert found.repaired == "dropped; they are computed where they are needed"
    assert store.check() == []
    assert store.lacking_thumbnail_features(MADE_BY, limit=9) == ["b"]


def test_features_of_a_missing_image_are_orphans(store, tmp_path):
    change(tmp_path, "PRAGMA foreign_keys = OFF")
    change(tmp_path, "INSERT INTO thumbnail_features VALUES (99, '', 0, 0, x'', x'')")
    assert [damage.kind for damage in store.check(repair=True)] == ["orphan"]
    assert store.check() == []
    assert set(stored(store, "a", "b", "c")) == {"a", "b", "c"}


def test_a_recovered_collection_computes_them_again(store, tmp_path):
    store.close()
    recover(tmp_path / "c")
    with closing(EmbeddedStore(tmp_path / "c", create=False, cache_bytes=0)) as again:
        assert again.check() == []
        assert again.lacking_thumbnail_features(MADE_BY, limit=9) == ["a", "b", "c"]


def test_typical_descriptors_take_three_quarters_of_their_bytes(store):
    values = np.random.default_rng(1).exponential(25, (500, 128)).clip(0, 255).astype(np.uint8)
    places = np.random.default_rng(2).uniform(0, 256, (500, 4)).astype(np.float32)
    batch = LocalFeatures(values, places, np.array([0, 500], dtype=np.int64))
    store.put([replace(entry("a", 1), features={}, thumbnail_features=ThumbnailFeatures(MADE_BY, batch))])
    wide = replace(SPEC, dim=128)
    assert content(store.thumbnail_features(["a"], MADE_BY, wide)["a"]) == content(batch)
    row = thumbnail_rows.encode("a", ThumbnailFeatures(MADE_BY, batch))
    assert row[1] < 0.9 * batch.nbytes


def test_features_of_many_images_take_one_statement_and_counting_reads_no_features(store):
    with store._connections.reading() as database:
        seen = []
        database.set_trace_callback(seen.append)
        assert len(thumbnail_rows._read(database, ["a", "b", "c"], MADE_BY, SPEC)) == 3
        thumbnail_rows._usage(database, MADE_BY)
        thumbnail_rows._lacking(database, MADE_BY, 9)
        database.set_trace_callback(None)
        assert len(seen) == 3
        for statement in seen[1:]:
            plan = "\n".join(row[-1] for row in database.execute(f"EXPLAIN QUERY PLAN {statement}"))
            assert "USING COVERING INDEX thumbnail_features_by_method" in plan


def test_writing_an_image_with_features_is_one_transaction(store):
    with pytest.raises(ValueError, match="not registered"):
        store.put([with_features("a", 7)])
    assert stored(store, "a") == {"a": content(made(0).features)}
