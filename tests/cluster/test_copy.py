"""Collections move from a folder into PostgreSQL and back, also when the server is killed meanwhile."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace
from functools import partial

import pytest
from small_images import register, small_image

from imagefinder.collection.copying import copy
from imagefinder.core.features import FeatureSpec
from imagefinder.core.records import Failure
from imagefinder.core.settings import Settings
from imagefinder.stores.distributed.address import Address
from imagefinder.stores.distributed.folder_objects import FolderObjects
from imagefinder.stores.distributed.object_payloads import InObjects
from imagefinder.stores.distributed.pool import Database, Options
from imagefinder.stores.distributed.store import DistributedStore
from imagefinder.stores.embedded import EmbeddedStore
from imagefinder.testing.stores import METHODS, ODD_IDS, content, entry, fingerprint
from imagefinder.wiring import runtime_of

MANY = 2000


def in_folder(folder, *, create=True):
    return closing(EmbeddedStore(folder, create=create, cache_bytes=0))


def in_database(server, database, **options):
    address = Address.of_collection(f"{server.url(database)}/main")
    opened = Database(address.database, Options(**options))
    return closing(DistributedStore(opened, address.collection, create=True, cache_bytes=0))


def runtime():
    return runtime_of(Settings(threads=1))


def everything(store):
    """Whatever can be read from a store, in a form that can be compared."""
    ids = [record.id for record in store.images(limit=10_000)]
    entries = [store.entry(image_id) for image_id in ids[:200]]
    return {
        "records": store.images(limit=10_000),
        "digests": store.digests(ids),
        "features": [{name: content(batch) for name, batch in one.features.items()} for one in entries],
        "thumbnails": [one.thumbnail for one in entries],
        "failures": store.failures(),
        "removals": store.removals(),
        "methods": {name: (one.fingerprint, one.spec, one.images) for name, one in store.info().methods.items()},
        "samples": {name: store.sample(name, 50) for name in store.info().methods},
    }


def test_there_and_back_nothing_changes(postgres, tmp_path):
    name = postgres.new_database()
    with in_folder(tmp_path / "first") as first, in_database(postgres, name) as middle:
        for method, spec in METHODS.items():
            first.register(fingerprint(method), spec)
        first.put(
            [
                entry(image_id, seed, metadata={"n": [seed, 0.1, None, "ä"]})
                for seed, image_id in enumerate(ODD_IDS)
            ]
        )
        first.put([replace(entry("bare", 1, methods=[]), thumbnail=b""), entry("nul\0", 2, metadata={"\0": "\0"})])
        first.put([entry("gone", 3), entry("gone\0", 4)])
        first.delete(["gone", "gone\0"], remember=True)
        first.record_failures([Failure("bad\0", "uri", "bad", "message", source="s")] * 3)
        there = copy(first, middle, runtime())
        assert there.verified, there.problems
        assert everything(middle) == everything(first)
        with in_folder(tmp_path / "last") as last:
            back = copy(middle, last, runtime())
            assert (back.verified, back.copied) == (True, there.copied)
            assert everything(last) == everything(first)
            assert last.check() == []


def test_there_and_back_with_objects(postgres, tmp_path):
    (tmp_path / "objects").mkdir()
    address = Address.of_database(postgres.url(postgres.new_database()))
    payloads = partial(InObjects, FolderObjects(tmp_path / "objects"), in_row=100)
    with (
        in_folder(tmp_path / "first") as first,
        in_folder(tmp_path / "last") as last,
        closing(
            DistributedStore(Database(address), "main", create=True, cache_bytes=0, payloads=payloads)
        ) as middle,
    ):
        register(first).put([small_image(f"{number:04}") for number in range(300)])
        assert copy(first, middle, runtime()).verified
        assert len([path for path in (tmp_path / "objects").rglob("*") if path.is_file()]) >= 600
        assert copy(middle, last, runtime()).verified
        assert everything(last) == everything(middle) == everything(first)


def test_resumed_copies_follow_the_source(postgres, tmp_path):
    name = postgres.new_database()
    with in_folder(tmp_path / "source") as source, in_database(postgres, name) as target:
        register(source)
        source.put([small_image(f"{number:04}") for number in range(600)])
        assert copy(source, target, runtime()).verified
        source.put([small_image("0100", 2), small_image("new")])
        source.delete(["0200"], remember=True)
        report = copy(source, target, runtime(), resume=True)
        assert (report.verified, report.copied, report.removed, report.unchanged) == (True, 2, 1, 598)
        assert everything(target) == everything(source)
        target.register(fingerprint("other"), FeatureSpec("global", 4, "float32"))
        target.put([small_image("own")])
        with pytest.raises(Exception, match="has changed since it was copied"):
            copy(source, target, runtime(), resume=True)


def test_a_copy_survives_a_restart_of_the_server(own_postgres, tmp_path):
    name = own_postgres.new_database()
    with in_folder(tmp_path / "source") as source, in_database(own_postgres, name) as target:
        register(source)
        for start in range(0, MANY, 500):
            source.put([small_image(f"{number:05}") for number in range(start, start + 500)])
        killed = threading.Event()

        def kill(_stage, done, _total):
            if done >= 500 and not killed.is_set():
                killed.set()
                own_postgres.kill()
                threading.Timer(1.0, own_postgres.start).start()

        report = copy(source, target, runtime(), progress=kill)
        assert killed.is_set()
        assert (report.verified, report.images) == (True, MANY), report.problems
        assert everything(target) == everything(source)
