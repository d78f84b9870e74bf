"""The fixtures that every part of the store suite uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagefinder.core.contracts import Store
from imagefinder.testing.stores.samples import (
    MakeStore,
    register,
)


class StoreFixtures:
    """A store, and the same store opened a second time."""

    persistent = True
    """Whether what was put is there for another object (thread, process) that opens the same place."""

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Opens the store at a place."""
        raise NotImplementedError("give a fixture named make_store")

    @pytest.fixture
    def store(self, make_store: MakeStore, tmp_path: Path) -> Iterator[Store]:
        """A new store with the methods of the tests."""
        store = make_store(tmp_path / "store")
        register(store)
        yield store
        store.close()

    @pytest.fixture
    def other(self, store: Store, make_store: MakeStore, tmp_path: Path) -> Iterator[Store]:  # noqa: ARG002 - first
        """The same store, opened again, while ``store`` is open."""
        if not self.persistent:
            pytest.skip("this store is not shared")
        other = make_store(tmp_path / "store")
        yield other
        other.close()
