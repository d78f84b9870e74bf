import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from imagefinder.core.errors import CollectionMovedError
from imagefinder.core.features import FeatureSpec, GlobalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, Failure, ImageRecord
from imagefinder.stores.embedded import EmbeddedStore
from imagefinder.stores.embedded.identity import identity_of
from imagefinder.stores.embedded.schema import FILE_NAME

VECTOR = GlobalFeatures(np.ones((1, 8), dtype=np.float32))


def entry(image_id):
    return Entry(ImageRecord(image_id, "file:///x", "1", 1, 1, 1, ""), {"m": VECTOR})


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "c"


@pytest.fixture
def store(folder):
    with closing(EmbeddedStore(folder, create=True, cache_bytes=1 << 20)) as store:
        store.register(Fingerprint("m", 1), FeatureSpec("global", 8, "float32"))
        store.put([entry("a")])
        list(store.scan("m"))  # the features are cached now
        yield store


def ids(folder):
    with closing(EmbeddedStore(folder, create=False, cache_bytes=0)) as store:
        return [record.id for record in store.images()]


def away(folder, how):
    match how:
        case "files deleted":
            for file in folder.iterdir():
                file.unlink()
        case "database deleted":
            (folder / FILE_NAME).unlink()
        case "folder deleted":
            shutil.rmtree(folder)
        case "folder moved":
            folder.rename(folder.with_name("moved"))
        case "parent moved":
            parent = folder.parent
            parent.rename(parent.with_name(parent.name + "-moved"))
        case "folder replaced":
            folder.rename(folder.with_name("moved"))
            shutil.copytree(folder.with_name("backup"), folder)
        case "database replaced":
            shutil.copy(folder.with_name("backup") / FILE_NAME, folder / "new")
            (folder / "new").replace(folder / FILE_NAME)
        case "file in place of the folder":
            folder.rename(folder.with_name("moved"))
            folder.write_text("")


CASES = [
    *("files deleted", "database deleted", "folder deleted", "folder moved", "parent moved", "folder replaced"),
    *("database replaced", "file in place of the folder"),
]
USES = {
    "put": lambda store: store.put([entry("b")]),
    "put_features": lambda store: store.put_features("a", {"m": VECTOR}),
    "delete": lambda store: store.delete(["a"]),
    "touch": lambda store: store.touch("a", uri="", stamp=""),
    "record_failures": lambda store: store.record_failures([Failure("b", "", "bad", "")]),
    "forget_removals": lambda store: store.forget_removals(["a"]),
    "get": lambda store: store.get("a"),
    "images": lambda store: store.images(),
    "scan": lambda store: list(store.scan("m")),
    "info": lambda store: store.info(),
    "derived": lambda store: store.derived("x"),
    "lease": lambda store: store.lease("x", 1.0),
    "sample": lambda store: store.sample("m", 1),
    "put_derived": lambda store: store.put_derived("x", b""),
    "backup": lambda store: store.backup(store._folder.parent / "another"),
}


@pytest.mark.parametrize("how", CASES)
def test_nothing_is_acknowledged_or_answered_by_a_collection_that_is_gone(store, folder, how):
    store.backup(folder.with_name("backup"))
    away(folder, how)
    assert not store.is_in_place()
    for name, use in USES.items():
        with pytest.raises(CollectionMovedError, match=r"moved|replaced") as caught:
            use(store)
        assert caught.value.hint, name


def test_a_folder_that_is_moved_back_works_again(store, folder):
    moved = folder.rename(folder.with_name("moved"))
    with pytest.raises(CollectionMovedError, match="moved or deleted"):
        store.put([entry("b")])
    moved.rename(folder)
    store.put([entry("c")])
    store.close()
    assert ids(folder) == ["a", "c"]


def test_a_put_is_not_acknowledged_if_the_folder_goes_during_it(store, folder):
    def write_and_move():
        with store._connections.writing() as database:
            database.execute("DELETE FROM failures")
            folder.rename(folder.with_name("moved"))

    with pytest.raises(CollectionMovedError):
        write_and_move()


def test_the_old_store_leaves_the_new_files_alone(store, folder):
    """Closing the last connection deletes the log by its name, which belongs to another collection by now."""
    store.backup(folder.with_name("backup"))
    store.put([entry("old")])
    away(folder, "folder replaced")
    with closing(EmbeddedStore(folder, create=False, cache_bytes=0)) as new:
        new.put([entry("new")])
        log = identity_of(folder / f"{FILE_NAME}-wal")
        store.close()
        assert identity_of(folder / f"{FILE_NAME}-wal") == log
        new.put([entry("newer")])
    assert ids(folder) == ["a", "new", "newer"]
    assert ids(folder.with_name("moved")) == ["a", "old"]


def test_a_deleted_log_is_noticed(store, folder):
    """Its changes would be in a file without a name, and lost when the store is closed."""
    store.put([entry("b")])
    (folder / f"{FILE_NAME}-wal").unlink()
    for name, use in USES.items():
        if "derived" not in name:
            with pytest.raises(CollectionMovedError, match=r"-wal was deleted or replaced"):
                use(store)


def test_another_process_may_come_and_go(store, folder):
    for number in range(3):
        with closing(EmbeddedStore(folder, create=False, cache_bytes=0)) as other:
            other.put([entry(f"other {number}")])
        store.put([entry(f"own {number}")])
    with closing(sqlite3.connect(folder / FILE_NAME)) as tool:
        tool.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert store.info().images == 7


def test_identity(tmp_path):
    assert identity_of(tmp_path / "none") is None
    (tmp_path / "a").write_text("")
    (tmp_path / "b").write_text("")
    assert identity_of(tmp_path / "a") == identity_of(tmp_path / "a") != identity_of(tmp_path / "b")
