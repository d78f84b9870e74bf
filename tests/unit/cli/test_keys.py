import json

import pytest

from imagefinder.server.keys import Keys


@pytest.fixture
def state(monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGEFINDER_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def test_a_key_is_shown_once_alone_on_standard_output(call, state):
    answer = call("keys", "create", "shop")
    assert answer.code == 0
    (secret,) = answer.out.splitlines()
    found = Keys(state).find(secret.encode())
    assert (found.name, found.access) == ("shop", "read")
    assert "not shown again" in answer.err
    assert secret not in answer.err + call("keys", "list").out + call("keys", "list", "--json").out


def test_with_write_it_may_change_things(call, state):
    made = call("keys", "create", "editor", "--write", "--json").json
    assert (made["name"], made["access"]) == ("editor", "write")
    assert Keys(state).find(made["key"].encode()).access == "write"


def test_the_list_and_the_end_of_a_key(call, state):
    assert "there are none" in call("keys", "list").out
    assert call("keys", "list", "--json").json == []
    secret = call("keys", "create", "shop").out.strip()
    assert "shop" in call("keys", "list").out
    assert [(key["name"], key["access"]) for key in call("keys", "list", "--json").json] == [("shop", "read")]
    assert call("keys", "revoke", "shop").code == 0
    assert Keys(state).find(secret.encode()) is None
    answer = call("keys", "revoke", "shop", "--json")
    assert (answer.code, json.loads(answer.out)["error"]["code"]) == (3, "invalid_input")


def test_a_strange_name_is_refused(call, state):
    answer = call("keys", "create", "a b")
    assert (answer.code, answer.out) == (3, "")
    assert "not a valid key name" in answer.err
