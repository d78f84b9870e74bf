"""Fixtures of the store suite."""

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
    """Whether another object (thread, process) that opens the same location sees the same data."""

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Open the store at a location."""
        raise NotImplementedError("provide a fixture named make_store")

    @pytest.fixture
    def process_store(self) -> MakeStore | None:
        """A function like ``make_store`` that can be pickled, for writers in processes; ``None``: in threads."""
        return None

    @pytest.fixture
    def store(self, make_store: MakeStore, tmp_path: Path) -> Iterator[Store]:
        """A new store with the methods of the tests registered."""
        store = make_store(tmp_path / "store")
        register(store)
        yield store
        store.close()

    @pytest.fixture
    def other(self, store: Store, make_store: MakeStore, tmp_path: Path) -> Iterator[Store]:  # noqa: ARG002 - first
        """The same store, opened a second time while ``store`` is open."""
        if not self.persistent:
            pytest.skip("this store is not shared")
        other = make_store(tmp_path / "store")
        yield other
        other.close()
