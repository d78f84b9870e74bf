import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from make_collection import make, picture

import imagefinder
from imagefinder.core.errors import (
    CollectionBusyError,
    CollectionCorruptError,
    CollectionFormatError,
    CollectionNotFoundError,
)
from imagefinder.stores.embedded import EmbeddedStore, schema, store
from imagefinder.stores.embedded.connections import connect
from imagefinder.stores.embedded.migration import Migration, migrate
from imagefinder.stores.embedded.recovery import recover
from imagefinder.stores.embedded.schema import FILE_NAME, FORMAT

FIXTURES = Path(__file__).parents[3] / "fixtures" / "collections"
IDS = ["first.png", "ordner/zweites bild \u00e4.png"]


def version(folder):
    with closing(sqlite3.connect(folder / FILE_NAME)) as database:
        return database.execute("PRAGMA user_version").fetchone()[0]


@pytest.fixture
def old(tmp_path):
    return shutil.copytree(FIXTURES / "format-1", tmp_path / "old")


@pytest.mark.parametrize("number", range(1, FORMAT + 1))
def test_every_earlier_format_is_migrated_and_searched(tmp_path, number):
    folder = shutil.copytree(FIXTURES / f"format-{number}", tmp_path / "c")
    migrate(folder)
    settings = imagefinder.Settings(sift_max_keypoints=40)
    with closing(imagefinder.open(folder, create=False, settings=settings)) as collection:
        assert collection.check().sound
        assert [(record.id, record.metadata) for record in collection.images()] == [
            (image_id, {"seed": seed}) for seed, image_id in enumerate(IDS, start=1)
        ]
        for seed, image_id in enumerate(IDS, start=1):
            assert collection.search(picture(seed)).hits[0].id == image_id
            assert collection.thumbnail(image_id)[:2] == b"\xff\xd8"
        assert [failure.id for failure in collection.failures()] == ["bad.jpg"]
        collection.put("third", picture(3))
        assert collection.check().images == 3


def test_the_fixture_of_the_current_format_is_up_to_date(tmp_path):
    assert make(tmp_path / "c") == FORMAT
    with (
        closing(sqlite3.connect(tmp_path / "c" / FILE_NAME)) as now,
        closing(sqlite3.connect(FIXTURES / f"format-{FORMAT}" / FILE_NAME)) as kept,
    ):
        assert schema.definitions(now) == schema.definitions(kept)


def test_a_migrated_collection_has_the_tables_of_a_new_one(old):
    migrate(old)
    with closing(sqlite3.connect(old / FILE_NAME)) as database:
        assert schema.definitions(database) == schema.expected_definitions()


def test_an_older_format_is_refused_with_the_command_and_left_alone(old):
    before = (old / FILE_NAME).read_bytes()
    for create in (True, False):
        with pytest.raises(CollectionFormatError, match="older format 1") as caught:
            EmbeddedStore(old, create=create, cache_bytes=0)
        assert f"imagefinder migrate --collection {old}" in caught.value.hint
    assert (old / FILE_NAME).read_bytes() == before


def test_the_older_database_stays(old):
    before = (old / FILE_NAME).read_bytes()
    done = migrate(old)
    assert done == Migration(1, FORMAT, old / f"{FILE_NAME}.format-1")
    assert done.backup.stat().st_size == len(before)
    assert migrate(old) == Migration(FORMAT, FORMAT, None)
    shutil.copy(done.backup, old / FILE_NAME)
    assert version(old) == 1
    assert migrate(old).before == 1


def test_several_steps_and_one_that_fails(old, monkeypatch):
    """All of them, or none."""
    monkeypatch.setattr(schema, "FORMAT", FORMAT + 2)
    steps = []

    def step(database):
        database.execute("CREATE TABLE new (x)" if not steps else "INSERT INTO new VALUES (1)")
        steps.append(database)

    def failing(database):
        step(database)
        raise sqlite3.OperationalError("no luck")

    monkeypatch.setitem(schema.MIGRATIONS, FORMAT, step)
    monkeypatch.setitem(schema.MIGRATIONS, FORMAT + 1, failing)
    with pytest.raises(imagefinder.ImagefinderError, match="no luck"):
        migrate(old)
    assert len(steps) == 2
    assert version(old) == 1
    steps.clear()
    monkeypatch.setitem(schema.MIGRATIONS, FORMAT + 1, step)
    assert migrate(old).after == FORMAT + 2 == version(old)
    with closing(sqlite3.connect(old / FILE_NAME)) as database:
        assert database.execute("SELECT * FROM new").fetchall() == [(1,)]


def test_unsupported_migrations(old, tmp_path):
    with pytest.raises(CollectionNotFoundError):
        migrate(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / FILE_NAME).touch()
    with pytest.raises(CollectionNotFoundError):
        migrate(tmp_path / "empty")
    with closing(sqlite3.connect(old / FILE_NAME)) as database:
        database.execute("PRAGMA user_version = 77")
    with pytest.raises(CollectionFormatError, match="77"):
        migrate(old)


def test_a_damaged_collection_is_not_migrated(old):
    data = bytearray((old / FILE_NAME).read_bytes())
    data[2 * schema.PAGE_BYTES : 3 * schema.PAGE_BYTES] = bytes(schema.PAGE_BYTES)
    (old / FILE_NAME).write_bytes(data)
    with pytest.raises(CollectionCorruptError):
        migrate(old)
    assert (old / FILE_NAME).read_bytes()[100:] == data[100:]  # the header knows of journals


def test_another_program_has_the_collection_open(old):
    with closing(sqlite3.connect(old / FILE_NAME)) as other:
        other.execute("PRAGMA journal_mode = WAL").fetchone()
        other.execute("SELECT * FROM images").fetchone()
        with pytest.raises(CollectionBusyError, match="open"):
            migrate(old)
    assert version(old) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="file sizes are limited as on Linux")
def test_no_space_for_the_copy_of_the_old_database(old):
    before = (old / FILE_NAME).read_bytes()
    child = os.fork()
    if child == 0:
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
        try:
            migrate(old)
        except imagefinder.ImagefinderError as error:
            os._exit(17 if str(old) in str(error) else 18)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17
    assert (old / FILE_NAME).read_bytes()[100:] == before[100:]  # the header knows of journals
    assert [path.name for path in old.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("number", sorted(schema.ADDITIVE))
def test_opening_a_collection_adds_what_is_new(tmp_path, number):
    """Without a copy and without exclusive access: the older program that has it open goes on."""
    folder = shutil.copytree(FIXTURES / f"format-{number}", tmp_path / "c")
    with closing(sqlite3.connect(folder / FILE_NAME)) as older:
        older.execute("PRAGMA journal_mode = WAL")
        assert older.execute("SELECT count(*) FROM images").fetchone() == (2,)
        with closing(EmbeddedStore(folder, create=False, cache_bytes=0)) as store:
            assert store.info().format_version == FORMAT
            assert store.check() == []
            assert store.delete(["first.png"], remember=True) == 1
            older.execute("DELETE FROM failures")
            older.commit()
            assert store.failures() == []
            assert "first.png" in [removal.id for removal in store.removals()]
    assert version(folder) == FORMAT
    assert [path.name for path in folder.iterdir()] == [FILE_NAME]
    with closing(sqlite3.connect(folder / FILE_NAME)) as database:
        assert schema.definitions(database) == schema.expected_definitions()


def open_until_killed(folder, statements):
    """Open a collection in a child that kills itself after some statements; returns whether it did."""
    child = os.fork()
    if child == 0:
        left = [statements]

        def count(_):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

        def traced(*given, **options):
            database = connect(*given, **options)
            database.set_trace_callback(count)
            return database

        store.connect = traced
        EmbeddedStore(folder, create=False, cache_bytes=0)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("number", sorted(schema.ADDITIVE))
def test_opening_may_be_killed_after_any_statement(tmp_path, number):
    """The collection has its format or the present one, and is sound."""
    formats = []
    for statements in range(1, 200):
        folder = shutil.copytree(FIXTURES / f"format-{number}", tmp_path / f"{statements}")
        if not open_until_killed(folder, statements):
            break
        formats.append(version(folder))
        with closing(EmbeddedStore(folder, create=False, cache_bytes=0)) as opened:
            assert opened.check() == []
            assert opened.info().images == 2
        assert version(folder) == FORMAT
    assert formats.count(number) > 10
    assert set(formats) <= {number, FORMAT}


def test_removals_survive_backup_and_recovery(tmp_path):
    folder = shutil.copytree(FIXTURES / f"format-{FORMAT}", tmp_path / "c")
    with closing(EmbeddedStore(folder, create=False, cache_bytes=0)) as store:
        kept = store.removals()
        store.backup(tmp_path / "backup")
    assert [removal.id for removal in kept] == ["removed.png"]
    recover(folder)
    for copy in (folder, tmp_path / "backup"):
        with closing(EmbeddedStore(copy, create=False, cache_bytes=0)) as store:
            assert store.removals() == kept
