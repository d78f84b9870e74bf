import json

import pytest

from imagefinder.server.keys.folders import FolderKeys


@pytest.fixture
def state(monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGEFINDER_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def test_only_the_key_is_printed_on_standard_output_and_only_once(call, state):
    answer = call("keys", "create", "shop")
    assert answer.code == 0
    (secret,) = answer.out.splitlines()
    found = FolderKeys(state).find(secret.encode())
    assert (found.name, found.access) == ("shop", "read")
    assert answer.err.startswith("key shop (read access)")
    assert secret not in answer.err + call("keys", "list").out + call("keys", "list", "--json").out


def test_a_key_with_write_access(call, state):
    created = call("keys", "create", "editor", "--write", "--json").json
    assert (created["name"], created["access"]) == ("editor", "write")
    assert FolderKeys(state).find(created["key"].encode()).access == "write"


def test_list_and_revoke(call, state):
    assert "imagefinder keys create" in call("keys", "list").out
    assert call("keys", "list", "--json").json == []
    secret = call("keys", "create", "shop").out.strip()
    assert "shop" in call("keys", "list").out
    assert [(key["name"], key["access"]) for key in call("keys", "list", "--json").json] == [("shop", "read")]
    assert call("keys", "revoke", "shop").code == 0
    assert FolderKeys(state).find(secret.encode()) is None
    answer = call("keys", "revoke", "shop", "--json")
    assert (answer.code, json.loads(answer.out)["error"]["code"]) == (3, "invalid_input")


def test_an_invalid_name_is_refused(call, state):
    answer = call("keys", "create", "a b", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "invalid_input")
