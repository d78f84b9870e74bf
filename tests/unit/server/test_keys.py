from __future__ import annotations

import hmac
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from imagefinder.core.errors import InputError, StoreError
from imagefinder.server import keys as keys_module
from imagefinder.server.keys import PREFIX, KeyFile


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "new" / "state"


def test_a_key_is_known_by_its_secret_only(state: Path) -> None:
    file = KeyFile(state)
    assert file.entries() == ()
    reader, writer = file.create("shop", "read"), file.create("editor", "write")
    assert reader.startswith(PREFIX)
    assert len(reader) >= len(PREFIX) + 43  # 256 bits
    assert [(key.name, key.access) for key in file.entries()] == [("editor", "write"), ("shop", "read")]
    for secret, name in ((reader, "shop"), (writer, "editor")):
        found = file.find(secret.encode())
        assert found
        assert found.name == name
        for wrong in (secret[:-1], secret + "A", secret.upper(), secret[len(PREFIX) :], "", name):
            assert file.find(wrong.encode()) is None
        assert file.find(b"\xff\x00") is None


def test_every_key_is_compared_whichever_it_is(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, compared = KeyFile(state), []
    secrets = [file.create(name, "read") for name in "abc"]
    compare = hmac.compare_digest

    def counting(one: bytes, other: bytes) -> bool:
        compared.append(len(one))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    for secret in (*secrets, "if_wrong", ""):
        compared.clear()
        file.find(secret.encode())
        assert compared == [32, 32, 32]


def test_nothing_on_disk_opens_anything_and_nobody_else_can_read_it(state: Path) -> None:
    secret = KeyFile(state).create("shop", "read")
    for file in state.iterdir():
        assert secret.removeprefix(PREFIX) not in file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert {file.name for file in state.iterdir()} == {"keys.json", "keys.lock"}
    (kept,) = json.loads((state / "keys.json").read_text())["keys"]
    assert KeyFile(state).find(kept["sha256"].encode()) is None


def test_what_another_process_changes_is_seen_at_once(state: Path) -> None:
    here, there = KeyFile(state), KeyFile(state)
    for number in range(20):
        secret = there.create("a", "read").encode()
        assert here.find(secret), number
        there.revoke("a")
        assert here.find(secret) is None, number


def test_two_processes_lose_no_key_of_one_another(state: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from imagefinder.server.keys import KeyFile\n"
        "for n in range(25): KeyFile(Path(sys.argv[1])).create(f'{sys.argv[2]}{n}', 'read')"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(state), name]) for name in "ab"]
    assert [process.wait(60) for process in running] == [0, 0]
    assert len(KeyFile(state).entries()) == 50


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a\n", "a" * 65, "é", "../x", "\x1b[31m"])
def test_names_are_harmless(state: Path, name: str) -> None:
    with pytest.raises(InputError, match="no name for a key"):
        KeyFile(state).create(name, "read")


def test_mistakes_are_told(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = KeyFile(state)
    file.create("a", "read")
    with pytest.raises(InputError, match="already") as taken:
        file.create("a", "write")
    assert "imagefinder keys revoke a" in taken.value.hint
    with pytest.raises(InputError, match="no key 'b'") as unknown:
        file.revoke("b")
    assert unknown.value.hint == "keys: a"
    monkeypatch.setattr(keys_module, "MAX_KEYS", 1)
    with pytest.raises(InputError, match="the most"):
        file.create("b", "read")
    assert [key.name for key in file.entries()] == ["a"]


def key_file(**changes: object) -> str:
    key = {"name": "a", "access": "read", "sha256": "0" * 64, "created_at": 1.0, **changes}
    return json.dumps({"format": 1, "keys": [key]})


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
def test_a_damaged_file_lets_nobody_in(state: Path, text: str) -> None:
    file = KeyFile(state)
    secret = file.create("a", "read").encode()
    assert file.find(secret)
    (state / "keys.json").write_text(text)
    for _ in range(2):
        with pytest.raises(StoreError, match="damaged"):
            file.find(secret)
        with pytest.raises(StoreError, match="damaged"):
            file.create("b", "read")
    assert (state / "keys.json").read_text() == text


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be") as caught:
        KeyFile(tmp_path / "file" / "state").create("a", "read")
    assert "state" in str(caught.value) + caught.value.hint
