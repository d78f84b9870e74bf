import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from imagefinder.core.errors import (
    CollectionCorruptError,
    CollectionFormatError,
    CollectionNotFoundError,
    StoreError,
)
from imagefinder.stores.embedded import EmbeddedStore, schema


def opened(folder, *, create=False):
    return closing(EmbeddedStore(folder, create=create, cache_bytes=0))


def make(folder):
    with opened(folder, create=True):
        pass
    return folder / schema.FILE_NAME


def test_a_missing_folder(tmp_path):
    with pytest.raises(CollectionNotFoundError, match="nowhere") as caught, opened(tmp_path / "nowhere"):
        pass
    assert "imagefinder add" in caught.value.hint
    assert not (tmp_path / "nowhere").exists()


def test_an_empty_folder(tmp_path):
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".keep").touch()
    with pytest.raises(CollectionNotFoundError), opened(tmp_path):
        pass
    make(tmp_path)
    with opened(tmp_path) as store:
        assert store.info().format_version == schema.FORMAT


def test_odd_names_of_folders(tmp_path):
    for name in ("a?b#c%20d", "file:x", "ä 😀", "'; DROP"):
        make(tmp_path / name)
        assert [path.name for path in (tmp_path / name).iterdir()] == [schema.FILE_NAME]
        with opened(tmp_path / name) as store:
            assert store.info().location == str(tmp_path / name)


def test_a_relative_folder_stays_the_same_after_a_change_of_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with opened(Path("here"), create=True) as store:
        monkeypatch.chdir("/")
        assert store.info().bytes_on_disk > 0
        assert store.images() == []


def test_a_file(tmp_path):
    (tmp_path / "file").write_text("hello")
    for create in (False, True):
        with pytest.raises(CollectionFormatError, match="is a file"), opened(tmp_path / "file", create=create):
            pass
        with pytest.raises(StoreError), opened(tmp_path / "file" / "below", create=create):
            pass


@pytest.mark.parametrize("create", [False, True])
def test_a_folder_of_other_things(tmp_path, create):
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(CollectionFormatError, match="other files"), opened(tmp_path, create=create):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize("create", [False, True])
def test_a_database_of_another_program(tmp_path, create):
    file = tmp_path / schema.FILE_NAME
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE theirs (x)")
        database.commit()
    before = file.read_bytes()
    with pytest.raises(CollectionFormatError, match="another program"), opened(tmp_path, create=create):
        pass
    assert file.read_bytes() == before


@pytest.mark.parametrize("create", [False, True])
def test_a_newer_format(tmp_path, create):
    with closing(sqlite3.connect(make(tmp_path))) as database:
        database.execute(f"PRAGMA user_version = {schema.FORMAT + 6}")
    with (
        pytest.raises(CollectionFormatError, match=rf"format {schema.FORMAT + 6}.*format {schema.FORMAT}"),
        opened(tmp_path, create=create),
    ):
        pass


def test_remains_of_a_killed_creation(tmp_path):
    (tmp_path / schema.FILE_NAME).touch()
    with pytest.raises(CollectionNotFoundError), opened(tmp_path):
        pass
    make(tmp_path)
    (tmp_path / "later").mkdir()
    with closing(sqlite3.connect(tmp_path / "later" / schema.FILE_NAME)) as database:
        database.execute("PRAGMA journal_mode = WAL")
    make(tmp_path / "later")
    with opened(tmp_path / "later") as store:
        assert store.images() == []


def test_another_process_is_creating_it_at_this_moment(tmp_path):
    other = sqlite3.connect(tmp_path / schema.FILE_NAME, isolation_level=None, check_same_thread=False)
    with closing(other):
        other.execute("BEGIN IMMEDIATE")
        finished = threading.Timer(0.3, other.execute, ["ROLLBACK"])
        finished.start()
        make(tmp_path)
        finished.join()
    with opened(tmp_path) as store:
        assert store.images() == []


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("damage", [b"This is no database. " * 1000, b"\0" * 4096], ids=["text", "zeros"])
def test_a_damaged_beginning(tmp_path, create, damage):
    file = make(tmp_path)
    file.write_bytes(damage + file.read_bytes()[len(damage) :])
    with pytest.raises(CollectionCorruptError, match=schema.FILE_NAME), opened(tmp_path, create=create):
        pass


def test_a_copy_without_its_log_mode(tmp_path):
    with closing(sqlite3.connect(make(tmp_path))) as database:
        assert database.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    with opened(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / schema.FILE_NAME)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_pages(tmp_path):
    with closing(sqlite3.connect(make(tmp_path))) as database:
        assert database.execute("PRAGMA page_size").fetchone() == (schema.PAGE_BYTES,)


def test_queries_that_must_not_read_all(tmp_path):
    with closing(sqlite3.connect(make(tmp_path))) as database:
        for query, index in (
            (
                "key, bytes FROM features WHERE method = 1 AND key > 5 ORDER BY key",
                "COVERING INDEX features_by_method",
            ),
            ("* FROM images WHERE id > 'a' ORDER BY id LIMIT 5", "INDEX sqlite_autoindex_images_1"),
            ("* FROM images WHERE id > 'a' AND source = 's' ORDER BY id LIMIT 5", "INDEX images_by_source"),
            ("method FROM features WHERE image = 1", "COVERING INDEX sqlite_autoindex_features_1"),
        ):
            plan = "; ".join(row[3] for row in database.execute(f"EXPLAIN QUERY PLAN SELECT {query}"))
            assert index in plan
            assert "TEMP B-TREE" not in plan


def test_all_definitions_are_in_the_first_page(tmp_path):
    """Recovery replaces a lost first page; definitions in other pages would be lost with it."""
    EmbeddedStore(tmp_path, create=True, cache_bytes=0).close()
    leaf_of_a_table = 13  # https://www.sqlite.org/fileformat2.html, 1.6
    assert (tmp_path / schema.FILE_NAME).read_bytes()[100] == leaf_of_a_table
