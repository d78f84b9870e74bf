import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from imagefinder.core.features import FeatureSpec, GlobalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.stores.embedded import EmbeddedStore, sample_rows
from imagefinder.stores.embedded.recovery import recover
from imagefinder.stores.embedded.schema import FILE_NAME

FIXTURES = Path(__file__).parents[3] / "fixtures" / "collections"


def imported(name, seed):
    vector = np.random.default_rng(seed).random((1, 8), dtype=np.float32)
    return Entry(ImageRecord(name, "", "", 0, 0, 0, ""), {"vector": GlobalFeatures(vector)})


@pytest.fixture
def store(tmp_path):
    with closing(EmbeddedStore(tmp_path / "c", create=True, cache_bytes=0)) as store:
        store.register(Fingerprint("vector", 1), FeatureSpec("global", 8, "float32"))
        store.put([imported(f"{seed}", seed) for seed in range(30)])
        yield store


@pytest.mark.parametrize("query", [sample_rows._ALONG_THE_INDEX, sample_rows._WITHOUT_SHA256])
def test_the_hashes_are_read_in_the_order_of_an_index(store, query):
    with store._connections.reading() as database:
        rows = database.execute(f"EXPLAIN QUERY PLAN {query}", {"method": 1, "n": 5}).fetchall()
    plan = "; ".join(row[3] for row in rows)
    assert "images_by_sha256" in plan or "contents_by_hash" in plan
    assert "TEMP B-TREE" not in plan


def test_opening_an_older_collection_hashes_its_imported_features(store, tmp_path):
    """As if they had been added to a collection of the present format."""
    folder = shutil.copytree(FIXTURES / "format-3", tmp_path / "old")
    with closing(sqlite3.connect(folder / FILE_NAME)) as database, store._connections.reading() as source:
        for table in ("methods", "images", "features"):
            database.execute(f"DELETE FROM {table}")
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            names, marks = ", ".join(columns), ", ".join("?" * len(columns))
            rows = source.execute(f"SELECT {names} FROM {table}").fetchall()
            database.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)
        database.commit()
    with closing(EmbeddedStore(folder, create=False, cache_bytes=0)) as opened:
        assert opened.sample("vector", 12) == store.sample("vector", 12)
        assert len(opened.sample("vector", 12)) == 12


def test_a_recovered_collection_has_the_same_sample(store, tmp_path):
    before = store.sample("vector", 12)
    store.close()
    recover(tmp_path / "c")
    with closing(EmbeddedStore(tmp_path / "c", create=False, cache_bytes=0)) as opened:
        assert opened.sample("vector", 12) == before
