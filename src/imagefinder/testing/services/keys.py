"""Tests for the contract of API keys; subclass ``KeysSuite`` in your own tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from imagefinder.core.errors import InputError
from imagefinder.core.keys import MAX_COLLECTIONS, MAX_KEYS, PREFIX
from imagefinder.core.service_contracts import Keys

MakeKeys = Callable[[], Keys]


class KeysSuite:
    """Provide the fixture ``make_keys``; every test then runs on your keys."""

    @pytest.fixture
    def make_keys(self) -> MakeKeys:
        """Open the keys of a new server; each call opens the same ones, as another process would."""
        raise NotImplementedError("provide a fixture named make_keys")

    @pytest.fixture
    def keys(self, make_keys: MakeKeys) -> Keys:
        """The keys of a new server."""
        return make_keys()

    def test_a_key_is_found_by_its_secret_only(self, keys: Keys) -> None:
        """Neither a part of a secret nor a name is a key."""
        assert keys.entries() == ()
        reader, writer = keys.create("shop", "read"), keys.create("editor", "write")
        assert [(key.name, key.access) for key in keys.entries()] == [("editor", "write"), ("shop", "read")]
        for secret, name in ((reader, "shop"), (writer, "editor")):
            found = keys.find(secret.encode())
            assert found is not None
            assert found.name == name
            assert found.collections is None
            assert keys.exists(found.sha256)
            assert secret.startswith(PREFIX)
            assert secret not in repr(found)
            for wrong in (secret[:-1], secret + "A", secret.upper(), secret[len(PREFIX) :], "", name):
                assert keys.find(wrong.encode()) is None
        assert keys.find(b"\xff\x00") is None
        assert not keys.exists("0" * 64)

    def test_a_key_can_be_restricted_to_collections(self, make_keys: MakeKeys) -> None:
        """The names are kept, sorted and once each."""
        keys = make_keys()
        secret = keys.create("supplier", "write", ["shoes", "bags", "shoes"])
        found = make_keys().find(secret.encode())
        assert found is not None
        assert found.collections == ("bags", "shoes")
        for wrong in ([], ["A"], ["a/b"], ["x"] * 3 + [f"c{number}" for number in range(MAX_COLLECTIONS)]):
            with pytest.raises(InputError):
                keys.create("other", "read", wrong)

    def test_names_are_unique_and_valid(self, keys: Keys) -> None:
        """A refused key is not stored."""
        keys.create("shop", "read")
        for name in ("shop", "", " shop", "-shop", "a" * 65, "a\n", "ä"):
            with pytest.raises(InputError):
                keys.create(name, "read")
        assert [key.name for key in keys.entries()] == ["shop"]

    def test_a_revoked_key_is_not_found(self, keys: Keys) -> None:
        """A new key with the name of a revoked one has another secret."""
        first = keys.create("shop", "read")
        keys.revoke("shop")
        assert keys.find(first.encode()) is None
        with pytest.raises(InputError, match="no key named 'shop'"):
            keys.revoke("shop")
        second = keys.create("shop", "write")
        assert keys.find(first.encode()) is None
        found = keys.find(second.encode())
        assert found is not None
        assert found.access == "write"

    def test_changes_of_other_processes_are_seen(self, make_keys: MakeKeys) -> None:
        """A new key is found soon, and a revoked one no longer after a second."""
        here, there = make_keys(), make_keys()
        assert here.find(b"if_none") is None
        secret = there.create("shop", "read")
        _until(lambda: here.find(secret.encode()) is not None, seconds=0.2)
        found = here.find(secret.encode())
        assert found is not None
        there.revoke("shop")
        _until(lambda: here.find(secret.encode()) is None and not here.exists(found.sha256), seconds=1.0)

    def test_concurrent_changes_are_all_kept(self, make_keys: MakeKeys) -> None:
        """Only one of several keys with the same name is created."""
        opened = [make_keys() for _ in range(4)]
        refused: list[str] = []

        def create(number: int) -> None:
            opened[number].create(f"own{number}", "read")
            try:
                opened[number].create("same", "read")
            except InputError as error:
                refused.append(error.message)

        threads = [threading.Thread(target=create, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(refused) == 3
        assert [key.name for key in make_keys().entries()] == ["own0", "own1", "own2", "own3", "same"]

    def test_the_number_of_keys_is_limited(self, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each request is compared with all keys."""
        assert MAX_KEYS == 1000
        monkeypatch.setattr("imagefinder.core.keys.MAX_KEYS", 2)
        keys.create("a", "read"), keys.create("b", "read")
        with pytest.raises(InputError, match="already 2 keys"):
            keys.create("c", "read")


def _until(is_true: Callable[[], bool], *, seconds: float) -> None:
    """Wait until something is true, up to the time that the contract allows and some for a busy machine."""
    end = time.monotonic() + seconds + 2.0
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.02)
