"""The state file: durable, private, shared by processes."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from imagefinder.core.errors import StoreError
from imagefinder.server import state as state_module
from imagefinder.server.state import _TABLES, APPLICATION_ID, FILE_NAME, FORMAT, State

FIRST_KEYS = """
CREATE TABLE keys (
    name TEXT PRIMARY KEY, access TEXT NOT NULL, sha256 TEXT NOT NULL, created_at REAL NOT NULL
) STRICT
"""
"""The table of keys in format 1."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "new" / "state"


def add(state: State, name: str) -> None:
    with state.writing() as database:
        database.execute("INSERT INTO keys VALUES (?, 'read', '00', 1.5, NULL)", (name,))


def names(state: State) -> list[str]:
    with state.reading() as database:
        return [name for (name,) in database.execute("SELECT name FROM keys ORDER BY name")]


def test_files_are_created_on_first_use_and_private(folder: Path) -> None:
    state = State(folder)
    assert not state.exists()
    assert not folder.exists()
    add(state, "a")
    assert state.exists()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert files == dict.fromkeys((FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"), 0o600)
    state.close()
    assert [file.name for file in folder.iterdir()] == [FILE_NAME]
    assert names(state) == ["a"]


def test_writes_survive_a_power_failure(folder: Path) -> None:
    state = State(folder)
    add(state, "a")
    with state.reading() as database:
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_block_that_raises_is_rolled_back(folder: Path) -> None:
    state = State(folder)
    add(state, "a")
    with contextlib.suppress(ZeroDivisionError), state.writing() as database:
        database.execute("DELETE FROM keys")
        1 / 0  # noqa: B018
    assert names(state) == ["a"]


def test_every_write_changes_the_revision(folder: Path) -> None:
    here, there = State(folder), State(folder)

    def revision() -> tuple[int, int]:
        with here.reading() as database:
            return here.revision(database)

    seen = [revision()]
    assert revision() == seen[0]
    for change in (lambda: add(here, "a"), lambda: add(there, "b"), here.close):
        change()
        seen.append(revision())
    assert len(set(seen)) == len(seen)


def test_a_deleted_file_is_detected(folder: Path) -> None:
    state = State(folder)
    add(state, "a")
    (folder / FILE_NAME).unlink()
    assert names(state) == []
    add(state, "b")
    assert names(State(folder)) == ["b"]


def test_processes_may_create_it_at_the_same_time(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from imagefinder.server.state import State\n"
        "sys.stdin.read()\n"
        "with State(Path(sys.argv[1])).writing() as database:\n"
        "    database.execute(\"INSERT INTO keys VALUES (?, 'read', '00', 1.5, NULL)\", (sys.argv[2],))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(folder), str(number)], stdin=subprocess.PIPE)
        for number in range(6)
    ]
    for process in running:
        assert process.stdin
        process.stdin.close()
    assert [process.wait(60) for process in running] == [0] * 6
    assert names(State(folder)) == list("012345")


def test_a_second_connection_keeps_the_locks_of_the_first(folder: Path) -> None:
    first, second = State(folder), State(folder)
    add(first, "a")
    assert names(second) == ["a"]
    code = (
        "import sys; from pathlib import Path; from imagefinder.server.state import State\n"
        "state = State(Path(sys.argv[1]))\n"
        "with state.writing() as database: database.execute('DELETE FROM keys')\n"
        "state.close()"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
    assert (
        folder / f"{FILE_NAME}-wal"
    ).exists()  # the last process to close removes it, and that was not this one
    add(first, "b")
    assert names(first) == names(second) == ["b"]


def test_the_file_shrinks_when_uploads_are_deleted(folder: Path) -> None:
    state = State(folder)
    with state.writing() as database:
        database.execute("INSERT INTO jobs VALUES ('1', 'q', '{}', '{}', 0, 0)")
        database.execute("INSERT INTO uploads VALUES ('1', zeroblob(5000000))")
    with state.writing() as database:
        database.execute("DELETE FROM jobs")
        assert database.execute("SELECT count(*) FROM uploads").fetchone() == (0,)
    state.close()
    assert (folder / FILE_NAME).stat().st_size < 100_000


# errors


def overwrite(file: Path, at: int, data: bytes) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:at] + data + content[at + len(data) :])


@pytest.mark.parametrize(
    ("at", "data"),
    [
        (0, b"no database at all, but long enough to be taken for one" * 3),
        (4096, b"\xff" * 4096 * 20),  # everything after the schema
        (100, b"\xff" * 3000),  # the schema
    ],
)
def test_a_damaged_file_is_reported_and_unchanged(folder: Path, at: int, data: bytes) -> None:
    state = State(folder)
    add(state, "a")
    state.close()
    overwrite(state.file, at, data)
    before = state.file.read_bytes()
    for _ in range(2):
        with pytest.raises(StoreError, match="damaged") as caught:
            names(state)
        assert str(state.file) in caught.value.message
        assert "backup" in caught.value.hint
        with pytest.raises(StoreError, match="damaged"):
            add(state, "b")
    state.close()
    assert state.file.read_bytes() == before


def test_the_file_of_another_program_is_unchanged(folder: Path) -> None:
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / FILE_NAME)) as database:
        database.execute("CREATE TABLE theirs (x)")
    before = (folder / FILE_NAME).read_bytes()
    with pytest.raises(StoreError, match="belongs to another program"):
        add(State(folder), "a")
    assert (folder / FILE_NAME).read_bytes() == before


def test_a_newer_format_is_refused(folder: Path) -> None:
    state = State(folder)
    add(state, "a")
    with state.writing() as database:
        database.execute(f"PRAGMA user_version = {FORMAT + 1}")
    state.close()
    for use in (names, lambda state: add(state, "b")):
        with pytest.raises(StoreError, match=f"has format {FORMAT + 1}; .* reads format {FORMAT}") as caught:
            use(state)
        assert "newer" in caught.value.hint


def test_a_full_disk_is_reported_and_loses_nothing(folder: Path) -> None:
    state = State(folder)
    add(state, "a")
    with state.reading() as database:
        database.execute("PRAGMA max_page_count = 1")  # no larger than it is
    with pytest.raises(StoreError, match="full") as caught:
        add(state, "b" * 100_000)
    assert "space" in caught.value.hint
    assert names(state) == ["a"]


def test_a_lock_timeout_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "BUSY_SECONDS", 0.1)
    here, there = State(folder), State(folder)
    add(here, "a")
    with here.writing(), pytest.raises(StoreError, match="locked"):
        add(there, "b")
    assert names(there) == ["a"]


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used") as caught:
        add(State(tmp_path / "file" / "state"), "a")
    assert "state" in caught.value.hint


def test_the_first_format_is_migrated_by_any_number_of_processes(folder: Path) -> None:
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / FILE_NAME)) as old, old:
        for statement in (FIRST_KEYS, *_TABLES[1:]):
            old.execute(statement)
        old.execute("INSERT INTO keys VALUES ('a', 'read', '00', 1.5)")
        old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        old.execute("PRAGMA user_version = 1")
    code = (
        "import sys; from pathlib import Path; from imagefinder.server.state import State\n"
        "sys.stdin.read()\n"
        "with State(Path(sys.argv[1])).reading() as database:\n"
        "    assert database.execute('SELECT name, collections FROM keys').fetchall() == [('a', None)]"
    )
    command = [sys.executable, "-c", code, str(folder)]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(4)]
    for process in running:
        assert process.stdin
        process.stdin.close()
    assert [process.wait(60) for process in running] == [0] * 4
    state = State(folder)
    add(state, "b")
    assert names(state) == ["a", "b"]
