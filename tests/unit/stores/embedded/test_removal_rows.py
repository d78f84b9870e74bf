import random
import re
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from imagefinder.core.features import FeatureSpec, LocalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.stores.embedded import EmbeddedStore
from imagefinder.stores.embedded.schema import FILE_NAME

MARK = re.compile(rb"(?:META|THUMB|FEAT)MARK(\d{4})")


def entry(number, random):
    """An image whose metadata, thumbnail and features contain its number, in rows of very different sizes."""
    mark = f"MARK{number:04}"
    rows = random.choice((1, 20, 400))
    data = (f"FEAT{mark}".encode() * 4)[:32]
    descriptors = np.tile(np.frombuffer(data, dtype=np.uint8), (rows, 1))
    features = LocalFeatures(descriptors, np.zeros((rows, 4), dtype=np.float32), np.array([0, rows]))
    metadata = {"note": f"META{mark} " * random.choice((1, 30, 2000))}
    thumbnail = f"THUMB{mark} ".encode() * random.choice((10, 500))
    image_id = f"{random.random()}/{number}.jpg"
    record = ImageRecord(image_id, "file:///x", "1", 1, 1, 1, "", metadata=metadata)
    return Entry(record, {"m": features}, thumbnail)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "c"


@pytest.fixture
def store(folder):
    with closing(EmbeddedStore(folder, create=True, cache_bytes=0)) as store:
        store.register(Fingerprint("m", 1), FeatureSpec("local", 32, "uint8"))
        yield store


def marks(folder):
    return {int(mark) for file in folder.glob("collection*") for mark in MARK.findall(file.read_bytes())}


def fill(store, count):
    generator = random.Random(5)
    entries = [entry(number, generator) for number in range(count)]
    generator.shuffle(entries)
    for start in range(0, count, 10):
        store.put(entries[start : start + 10])
    return entries


def number_of(entry):
    return int(entry.image.id.split("/")[1].removesuffix(".jpg"))


def test_deleted_images_leave_nothing_in_the_database_and_its_log(store, folder):
    """Features, thumbnails and metadata are overwritten although the store stays open."""
    entries = fill(store, 120)
    assert marks(folder) == set(range(120))
    gone = random.Random(1).sample(entries, 60)
    for one in gone[:40]:
        assert store.delete([one.image.id]) == 1
    assert store.delete([one.image.id for one in gone[40:]], remember=True) == 20
    assert marks(folder) == set(range(120)) - {number_of(one) for one in gone}
    assert store.info().images == 60
    assert len(store.removals()) == 20


def test_a_reader_delays_the_overwriting_until_it_ends(store, folder):
    (one, other) = fill(store, 2)
    with store._connections.reading() as database:
        database.execute("SELECT count(*) FROM images").fetchone()
        store.delete([one.image.id])
        assert number_of(one) in marks(folder)
    store._connections._next_purge = 0.0  # otherwise readers try once a second
    store.info()
    assert marks(folder) == {number_of(other)}


def test_closing_overwrites_as_well(store, folder):
    (one, other) = fill(store, 2)
    with closing(sqlite3.connect(folder / FILE_NAME)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM images").fetchone()
        store.delete([one.image.id])
        assert number_of(one) in marks(folder)
    store.close()
    assert marks(folder) == {number_of(other)}


def test_a_damaged_removal_is_found_and_forgotten(store, folder):
    (one,) = fill(store, 1)
    store.delete([one.image.id], remember=True)
    with closing(sqlite3.connect(folder / FILE_NAME)) as tool, tool:
        tool.execute("UPDATE removals SET uri = 'file:///y'")
    assert store.removals() == []
    (damage,) = store.check()
    assert (damage.kind, damage.image_id, damage.repaired) == ("record", one.image.id, "")
    assert store.check(repair=True)[0].repaired
    assert store.check() == []
