from __future__ import annotations

import hmac
import json
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from imagefinder.core import keys as keys_module
from imagefinder.core.errors import InputError, StoreError
from imagefinder.core.keys import PREFIX
from imagefinder.server.keys import folders
from imagefinder.server.keys.folders import FolderKeys
from imagefinder.server.state import FILE_NAME

OLD_STATE = Path(__file__).parents[3] / "fixtures" / "server-state"
"""Written by version 0.1.0: the keys if_reader and if_writer, and five jobs."""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "new" / "state"


def test_a_key_is_found_by_its_secret_only(state: Path) -> None:
    keys = FolderKeys(state)
    assert keys.entries() == ()
    reader, writer = keys.create("shop", "read"), keys.create("editor", "write")
    assert reader.startswith(PREFIX)
    assert len(reader) >= len(PREFIX) + 43  # 256 bits
    assert [(key.name, key.access) for key in keys.entries()] == [("editor", "write"), ("shop", "read")]
    for secret, name in ((reader, "shop"), (writer, "editor")):
        found = keys.find(secret.encode())
        assert found
        assert found.name == name
        for wrong in (secret[:-1], secret + "A", secret.upper(), secret[len(PREFIX) :], "", name):
            assert keys.find(wrong.encode()) is None
        assert keys.find(b"\xff\x00") is None


def test_all_keys_are_compared(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, compared = FolderKeys(state), []
    secrets = [keys.create(name, "read") for name in "abc"]
    compare = hmac.compare_digest

    def counting(one: str, other: str) -> bool:
        compared.append(len(one))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    for secret in (*secrets, "if_wrong", ""):
        compared.clear()
        keys.find(secret.encode())
        assert compared == [64, 64, 64]


def test_the_file_is_private_and_has_no_secrets(state: Path) -> None:
    keys = FolderKeys(state)
    secret = keys.create("shop", "read")
    (kept,) = keys.entries()
    assert keys.find(kept.sha256.encode()) is None
    keys.close()
    (file,) = state.iterdir()
    assert secret.removeprefix(PREFIX).encode() not in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_changes_by_other_processes_are_visible_immediately(state: Path) -> None:
    here, there = FolderKeys(state), FolderKeys(state)
    for number in range(20):
        secret = there.create("a", "read").encode()
        assert here.find(secret), number
        there.revoke("a")
        assert here.find(secret) is None, number


def test_deleting_the_file_revokes_all_keys_immediately(state: Path) -> None:
    keys = FolderKeys(state)
    secret = keys.create("a", "read").encode()
    assert keys.find(secret)
    (state / FILE_NAME).unlink()
    assert keys.find(secret) is None


def test_concurrent_processes_lose_no_keys(state: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from imagefinder.server.keys.folders import FolderKeys\n"
        "for n in range(25): FolderKeys(Path(sys.argv[1])).create(f'{sys.argv[2]}{n}', 'read')"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(state), name]) for name in "ab"]
    assert [process.wait(60) for process in running] == [0, 0]
    assert len(FolderKeys(state).entries()) == 50


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a\n", "a" * 65, "é", "../x", "\x1b[31m"])
def test_invalid_names_are_refused(state: Path, name: str) -> None:
    with pytest.raises(InputError, match="not a valid key name"):
        FolderKeys(state).create(name, "read")


def test_mistakes_are_reported(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = FolderKeys(state)
    keys.create("a", "read")
    with pytest.raises(InputError, match="already") as taken:
        keys.create("a", "write")
    assert "imagefinder keys revoke a" in taken.value.hint
    with pytest.raises(InputError, match="no key named 'b'") as unknown:
        keys.revoke("b")
    assert "existing keys: a" in unknown.value.hint
    monkeypatch.setattr(keys_module, "MAX_KEYS", 1)
    with pytest.raises(InputError, match="maximum"):
        keys.create("b", "read")
    assert [key.name for key in keys.entries()] == ["a"]


def test_a_key_is_restricted_to_collections(state: Path) -> None:
    keys = FolderKeys(state)
    secret = keys.create("a", "read", ["shoes", "bags", "shoes"])
    keys.create("b", "write")
    assert [key.collections for key in keys.entries()] == [("bags", "shoes"), None]
    found = FolderKeys(state).find(secret.encode())
    assert found
    assert found.collections == ("bags", "shoes")
    for names in ([], [""], ["Shoes"], ["../x"], ["a/b"], ["*"], ["é"], ["a\n"], [f"c{n}" for n in range(101)]):
        with pytest.raises(InputError):
            keys.create("c", "read", names)
    assert len(keys.entries()) == 2


def test_a_key_with_the_name_of_a_revoked_one_is_another_key(state: Path) -> None:
    keys, elsewhere = FolderKeys(state), FolderKeys(state)
    keys.create("a", "read")
    (first,) = keys.entries()
    assert elsewhere.exists(first.sha256)
    keys.revoke("a")
    keys.create("a", "read")
    assert not elsewhere.exists(first.sha256)
    assert not elsewhere.exists("")


@pytest.mark.parametrize(
    "change",
    [
        "collections = '[]'",
        "collections = '{}'",
        "collections = '[1]'",
        """collections = '["A"]'""",
        "collections = 'x'",
        "access = 'all'",
        "sha256 = '00'",
        "name = 'a' || char(10)",
        "name = CAST(x'ff' AS TEXT)",
        "created_at = 9e999",
    ],
)
def test_a_damaged_key_denies_access(state: Path, change: str) -> None:
    keys = FolderKeys(state)
    secrets = [keys.create(name, "read").encode() for name in "ab"]
    with closing(sqlite3.connect(state / FILE_NAME)) as database, database:
        database.execute(f"UPDATE keys SET {change} WHERE name = 'a'")
    for secret in secrets:
        with pytest.raises(StoreError, match="damaged"):
            keys.find(secret)
    with pytest.raises(StoreError, match="damaged"):
        keys.create("c", "read")


# the key file of version 0.1.0


def test_the_keys_of_the_old_file_are_imported_once(state: Path) -> None:
    shutil.copytree(OLD_STATE, state)
    keys = FolderKeys(state)
    old = (state / "keys.json").read_bytes()
    assert [(key.name, key.access) for key in keys.entries()] == [("editor", "write"), ("shop", "read")]
    assert keys.entries()[1].created_at == 1796012310.7129138
    assert keys.find(b"if_reader") == keys.entries()[1]
    assert not (state / "keys.json").exists()
    assert (state / "keys.json.imported").read_bytes() == old
    keys.revoke("shop")
    (state / "keys.json").write_bytes(old)  # as after a crash before the file was renamed
    assert FolderKeys(state).find(b"if_reader") is None
    assert FolderKeys(state).find(b"if_writer")
    assert not (state / "keys.json").exists()


def test_a_crash_before_the_end_of_the_import_imports_nothing(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(OLD_STATE, state)
    with monkeypatch.context() as crash:
        crash.setattr(folders, "_insert", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            FolderKeys(state).entries()
    assert (state / "keys.json").exists()
    assert len(FolderKeys(state).entries()) == 2


def test_processes_import_the_old_file_together(state: Path) -> None:
    shutil.copytree(OLD_STATE, state)
    code = (
        "import sys; from pathlib import Path; from imagefinder.server.keys.folders import FolderKeys\n"
        "sys.stdin.read(); assert len(FolderKeys(Path(sys.argv[1])).entries()) == 2"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(state)], stdin=subprocess.PIPE) for _ in range(4)]
    for process in running:
        assert process.stdin
        process.stdin.close()
    assert [process.wait(60) for process in running] == [0] * 4


def test_an_old_file_with_a_key_that_exists_is_not_imported(state: Path) -> None:
    secret = FolderKeys(state).create("shop", "write").encode()
    shutil.copy(OLD_STATE / "keys.json", state)
    with pytest.raises(StoreError, match="a key named 'shop' already exists"):
        FolderKeys(state).find(secret)
    (state / "keys.json").unlink()
    assert [key.name for key in FolderKeys(state).entries()] == ["shop"]


def key_file(**changes: object) -> str:
    key = {"name": "a", "access": "read", "sha256": "0" * 64, "created_at": 1.0, **changes}
    return json.dumps({"format": 1, "keys": [key]})


def test_an_integer_time_in_the_old_file_is_valid(state: Path) -> None:
    state.mkdir(parents=True)
    (state / "keys.json").write_text(key_file(created_at=10**30))
    assert [key.created_at for key in FolderKeys(state).entries()] == [1e30]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"format": 2, "keys": []}',
        '{"format": 1, "keys": [{"name": "a"}]}',
        '{"format": 1, "keys": [{"name": "a", "access": "all", "sha256": "%s", "created_at": 1}]}' % ("0" * 64),
        '{"format": 1, "keys": [{"name": "a", "access": "read", "sha256": "00", "created_at": 1}]}',
        key_file(name="a\nb"),
        key_file(created_at=float("inf")),
        key_file(created_at=10**400),
        key_file(created_at="1"),
        "[" * 100_000,
    ],
)
def test_a_damaged_old_file_denies_access(state: Path, text: str) -> None:
    keys = FolderKeys(state)
    secret = keys.create("b", "read").encode()
    (state / "keys.json").write_text(text)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"keys\.json is damaged"):
            keys.find(secret)
        with pytest.raises(StoreError, match="damaged"):
            keys.create("c", "read")
    assert (state / "keys.json").read_text() == text


def test_an_unwritable_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be") as caught:
        FolderKeys(tmp_path / "file" / "state").create("a", "read")
    assert "state" in str(caught.value) + caught.value.hint
