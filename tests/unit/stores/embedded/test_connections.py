import multiprocessing
import os
import resource
import sqlite3
import threading
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from imagefinder.core.errors import CollectionBusyError, CollectionCorruptError, StoreError
from imagefinder.core.features import FeatureSpec, GlobalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.stores.embedded import EmbeddedStore, connections
from imagefinder.stores.embedded.schema import FILE_NAME

SPEC = FeatureSpec("global", 1 << 16, "float32")
LARGE = GlobalFeatures(np.random.default_rng(0).random((1, 1 << 16), dtype=np.float32))


def entry(image_id):
    return Entry(ImageRecord(image_id, "", "", 1, 1, 1, ""), {"m": LARGE})


@pytest.fixture
def store(tmp_path):
    with closing(EmbeddedStore(tmp_path / "collection", create=True, cache_bytes=0)) as store:
        store.register(Fingerprint("m", 1), SPEC)
        yield store


def reopen(tmp_path):
    return EmbeddedStore(tmp_path / "collection", create=False, cache_bytes=0)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "collection" / f"{FILE_NAME}-wal"


def test_after_closing(store):
    store.put([entry("a")])
    running = store.scan("m")
    store.close()
    for use in (store.info, lambda: next(running), lambda: store.put([entry("b")])):
        with pytest.raises(StoreError, match="closed"):
            use()


def test_closing_leaves_one_file(store, tmp_path):
    store.put([entry("a")])
    store.close()
    assert [path.name for path in (tmp_path / "collection").iterdir()] == [FILE_NAME]


def open_files(file):
    links = [Path(f"/proc/self/fd/{number}") for number in range(1000)]
    return sum(os.path.lexists(link) and link.readlink() == file for link in links)


def test_ended_threads_leave_no_connections(store, tmp_path):
    file = tmp_path / "collection" / FILE_NAME
    meeting = threading.Barrier(20)

    def use():
        with store._connections.reading():
            meeting.wait()
        store.info()

    for _ in range(3):
        threads = [threading.Thread(target=use) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store._connections._idle) <= connections._IDLE_CONNECTIONS
    # SQLite keeps files of closed connections for the next ones: those of 20 threads and a few more, not of 60.
    assert open_files(file) <= 25
    store.close()
    assert open_files(file) == 0


def test_the_log_is_emptied_although_a_reader_stands_in_the_way_for_a_while(store, log, monkeypatch):
    monkeypatch.setattr(connections, "_MAX_LOG_BYTES", 8 << 20)
    store._connections._log_limit = 8 << 20
    with store._connections.reading() as database:
        database.execute("SELECT count(*) FROM images").fetchone()
        for number in range(60):  # 16 MB
            store.put([entry(f"{number}")])
        assert log.stat().st_size > 15 << 20
    for number in range(60, 120):
        store.put([entry(f"{number}")])
    assert log.stat().st_size < 12 << 20


def test_slow_consumers_of_scans_do_not_make_the_log_grow(store, log, monkeypatch):
    monkeypatch.setattr(connections, "_MAX_LOG_BYTES", 8 << 20)
    store._connections._log_limit = 8 << 20
    store.put([entry(f"{number}") for number in range(200)])
    running = store.scan("m")
    next(running)
    for number in range(100):  # 26 MB
        store.put([entry(f"{number}")])
    assert log.stat().st_size < 12 << 20
    assert sum(len(block.ids) for block in running) <= 200


def test_another_process_that_does_not_let_go(store, tmp_path, monkeypatch):
    monkeypatch.setattr(connections, "BUSY_SECONDS", 0.2)
    store.close()
    with (
        closing(reopen(tmp_path)) as store,
        closing(sqlite3.connect(tmp_path / "collection" / FILE_NAME, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(CollectionBusyError) as caught:
            store.put([entry("a")])
        assert caught.value.retryable
        assert store.info().images == 0  # reading goes on
        other.execute("ROLLBACK")
        store.put([entry("a")])
        assert store.info().images == 1


def test_no_disk_space(store):
    """A limit on the size of files stands for a full disk."""
    store.put([entry("a")])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, hard))
    try:
        with pytest.raises(StoreError):
            store.put([entry(f"{number}") for number in range(20)])
        assert store.info().images == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    store.put([entry(f"{number}") for number in range(20)])
    assert store.info().images == 21


def test_a_full_database_says_so(store):
    with store._connections.reading() as database:
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages + 10}")
    with pytest.raises(StoreError, match="no disk space"):
        store.put([entry("a")])
    assert store.info().images == 0


def test_an_error_inside_undoes_all(store):
    def fail():
        with store._connections.writing() as database:
            database.execute("DELETE FROM methods")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert "m" in store.info().methods


@pytest.mark.parametrize("part", [0.05, 0.5, 0.95])
def test_a_file_cut_short(store, tmp_path, part):
    store.put([entry(f"{number}") for number in range(10)])
    store.close()
    file = tmp_path / "collection" / FILE_NAME
    os.truncate(file, int(file.stat().st_size * part))
    with pytest.raises(CollectionCorruptError, match=FILE_NAME), closing(reopen(tmp_path)) as store:
        list(store.scan("m"))


def _child(store, answers):
    inherited = list(store._connections._idle)
    store.put([entry("of the child")])
    own = not any(connection in inherited for connection in store._connections._idle)
    answers.put((own, len(inherited), store.info().images, sum(len(block.ids) for block in store.scan("m"))))


def test_a_forked_child_opens_its_own_connections(store):
    store.put([entry("a")])
    assert sum(len(block.ids) for block in store.scan("m")) == 1
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=_child, args=(store, answers))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of other tests
        child.start()
    assert answers.get() == (True, 1, 2, 2)
    child.join()
    assert child.exitcode == 0
    store.put([entry("b")])
    assert store.info().images == 3
