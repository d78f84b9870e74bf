"""The feed of changes: cursors, removals, and many writers with many followers."""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from imagefinder.core.contracts import Store
from imagefinder.core.records import Cursor
from imagefinder.testing.stores.fixtures import StoreFixtures
from imagefinder.testing.stores.samples import METHODS, MakeStore, content, entry, features, register, scanned

_ROUNDS = 25
_SHARED_IDS = 12
"""Ids that all writers put and delete."""


class Follower:
    """Follows the changes of a method as the contract says, and checks what no store may do.

    Attributes:
        method: Name of the method.
        cursor: Cursor of the last changes.
        keys: The existing keys.
        gone: All keys that were removed.
    """

    def __init__(self, method: str = "points") -> None:
        self.method = method
        self.cursor: Cursor | None = None
        self.keys: set[int] = set()
        self.gone: set[int] = set()

    def follow(self, store: Store) -> bool:
        """Apply the changes since the last call; returns whether they were complete."""
        changes = store.changes(self.method, self.cursor)
        assert changes.cursor.isascii()
        assert len(changes.cursor) <= 200
        assert changes.new.dtype == changes.sizes.dtype == changes.gone.dtype == np.int64
        assert len(changes.new) == len(changes.sizes)
        assert (np.diff(changes.new) > 0).all()
        new, gone = set(changes.new.tolist()), set(changes.gone.tolist())
        assert not new & gone, "a removed key was reported as new"
        assert not new & self.gone, "a removed key returned"
        if changes.complete:
            assert not gone
            self.gone |= self.keys - new
            self.keys = set()
        self.keys = (self.keys | new) - gone
        self.gone |= gone
        self.cursor = changes.cursor
        return changes.complete

    def ids(self, store: Store) -> set[str]:
        """The ids of the images with the existing keys."""
        keys, block = store.load(self.method, np.array(sorted(self.keys), dtype=np.int64))
        assert set(keys.tolist()) == self.keys
        return set(block.ids)


class FeedSuite(StoreFixtures):
    """Tests of ``changes`` and ``load``."""

    def test_changes_since_a_cursor(self, store: Store) -> None:
        """Added, replaced and removed features are reported; the cursor may be written to a file meanwhile."""
        follower = Follower()
        assert follower.follow(store)
        assert follower.keys == set()
        store.put([entry(f"{number}", number) for number in range(5)])
        assert not follower.follow(store)
        first = set(follower.keys)
        assert len(first) == 5
        assert store.changes("points", None).sizes.tolist() == [5 * (8 + 16)] * 5
        store.put([entry("new", 9), entry("2", 77)])
        store.put_features("3", {"points": features("points", 78)})
        store.delete(["4", "unknown"])
        follower.cursor = json.loads(json.dumps({"cursor": follower.cursor}))["cursor"]
        assert not follower.follow(store)
        assert len(follower.keys & first) == 2
        assert len(follower.gone) == 3
        assert follower.ids(store) == {"0", "1", "2", "3", "new"}
        _, block = store.load("points", np.array(sorted(follower.keys), dtype=np.int64))
        assert {
            image_id: content(block.features.image(number)) for number, image_id in enumerate(block.ids)
        } == scanned(store, "points")

    def test_nothing_is_reported_twice_forever(self, store: Store) -> None:
        """Without changes, the changes end."""
        follower = Follower()
        store.put([entry("a", 1), entry("b", 2)])
        follower.follow(store)
        store.put([entry("a", 3)])
        store.delete(["b"])
        follower.follow(store)
        changes = store.changes("points", follower.cursor)
        assert not changes.any
        assert not changes.complete

    def test_features_that_come_and_go_between_two_calls(self, store: Store) -> None:
        """They are not reported as existing."""
        follower = Follower()
        follower.follow(store)
        store.put([entry("a", 1), entry("b", 2)])
        store.delete(["a"])
        store.put([entry("b", 3)])
        follower.follow(store)
        assert follower.ids(store) == {"b"}
        assert len(follower.keys) == 1

    def test_methods_have_separate_changes(self, store: Store) -> None:
        """A cursor of one method reports no features of another one."""
        followers = {method: Follower(method) for method in METHODS}
        store.put([entry("a", 1), entry("b", 2)])
        for follower in followers.values():
            follower.follow(store)
        store.put([entry("c", 3, ["vector"])])
        store.put_features("a", {"tokens": features("tokens", 5)})
        store.delete(["b"])
        for method, follower in followers.items():
            assert not follower.follow(store)
            assert follower.ids(store) == set(scanned(store, method))
        assert len(followers["tokens"].gone) == 2
        assert len(followers["points"].gone) == 1

    @pytest.mark.parametrize("cursor", ["", "nonsense", "a.b.c.d.e", "1.1.1.1.1", "x.1.1.99999999999999999999.1"])
    def test_an_unknown_cursor_lists_everything(self, store: Store, cursor: str) -> None:
        """It is not an error, because what was derived can be compared with the store."""
        store.put([entry("a", 1), entry("b", 2)])
        follower = Follower()
        follower.cursor = cursor
        assert follower.follow(store)
        assert follower.ids(store) == {"a", "b"}

    def test_a_cursor_of_another_store_lists_everything(
        self, store: Store, make_store: MakeStore, tmp_path: Path
    ) -> None:
        """Although its keys may look the same."""
        other = make_store(tmp_path / "another")
        try:
            register(other)
            follower = Follower()
            for target in (store, other):
                target.put([entry("a", 1), entry("b", 2)])
            follower.follow(other)
        finally:
            other.close()
        follower.keys, follower.gone = {-1}, set()
        assert follower.follow(store)
        assert follower.ids(store) == {"a", "b"}

    def test_a_method_that_is_removed_and_registered_again(self, store: Store) -> None:
        """All its keys are gone, and none of them is given again."""
        follower = Follower()
        assert store.changes("unregistered", None).complete
        store.put([entry("a", 1), entry("b", 2)])
        follower.follow(store)
        keys = set(follower.keys)
        store.unregister("points")
        follower.follow(store)
        assert follower.keys == set()
        assert follower.gone == keys
        register(store)
        store.put([entry("a", 3), entry("c", 4)])
        follower.follow(store)
        assert follower.ids(store) == {"a", "c"}
        assert not follower.keys & keys

    def test_a_cursor_survives_reopening(self, store: Store, make_store: MakeStore, tmp_path: Path) -> None:
        """Changes before and after closing are reported to a later process."""
        if not self.persistent:
            pytest.skip("this store is not persistent")
        follower = Follower()
        store.put([entry("a", 1), entry("b", 2), entry("c", 3)])
        follower.follow(store)
        store.delete(["a"])
        store.close()
        again = make_store(tmp_path / "store")
        try:
            again.put([entry("d", 4)])
            assert not follower.follow(again)
            assert follower.ids(again) == {"b", "c", "d"}
        finally:
            again.close()

    @pytest.mark.parametrize("writers", [2, 4])
    def test_many_writers_and_followers(
        self, store: Store, make_store: MakeStore, process_store: MakeStore | None, tmp_path: Path, writers: int
    ) -> None:
        """No follower misses an image, or keeps or gets back one that was removed or replaced."""
        location = tmp_path / "store"
        followers = [Follower(), Follower(), Follower("vector")]
        done = threading.Event()

        def follow(follower: Follower) -> int:
            own = make_store(location) if self.persistent else store
            complete = 0
            while not done.is_set():
                complete += follower.follow(own)
            complete += follower.follow(own)
            if own is not store:
                own.close()
            return complete

        with ThreadPoolExecutor(len(followers)) as pool:
            polls = [pool.submit(follow, follower) for follower in followers]
            try:
                if process_store is None:
                    _write_in_threads(store, writers)
                else:
                    _write_in_processes(process_store, location, writers)
            finally:
                done.set()
            assert [poll.result() for poll in polls] == [1, 1, 1], "changes were complete again"
        for follower in followers:
            assert follower.keys == set(store.changes(follower.method, None).new.tolist())
            assert follower.ids(store) == set(scanned(store, follower.method))
        kept = {f"{writer} {turn}" for writer in range(writers) for turn in range(_ROUNDS) if turn % 5}
        assert kept <= followers[0].ids(store)


def _write(store: Store, writer: int) -> None:
    """Put, replace and delete images, some of which other writers also put and delete."""
    rng = np.random.default_rng(writer)
    for turn in range(_ROUNDS):
        shared = [f"shared {number}" for number in rng.integers(0, _SHARED_IDS, 3).tolist()]
        store.put([entry(f"{writer} {turn}", turn), *(entry(name, 1000 + turn) for name in shared)])
        if turn % 3 == 0:
            store.delete([f"shared {number}" for number in rng.integers(0, _SHARED_IDS, 2).tolist()])
        if turn % 5 == 4:
            store.delete([f"{writer} {turn - 4}"])
            store.put([entry(f"{writer} {turn - 1}", 2000 + turn, ["points", "vector"])])


def _write_in_threads(store: Store, writers: int) -> None:
    with ThreadPoolExecutor(writers) as pool:
        for written in [pool.submit(_write, store, writer) for writer in range(writers)]:
            written.result()


def _write_in_process(make_store: MakeStore, location: Path, writer: int) -> None:
    store = make_store(location)
    register(store)
    _write(store, writer)
    store.close()


def _write_in_processes(make_store: MakeStore, location: Path, writers: int) -> None:
    context = multiprocessing.get_context("spawn")
    with _running(
        [
            context.Process(target=_write_in_process, args=(make_store, location, writer))
            for writer in range(writers)
        ]
    ) as processes:
        for process in processes:
            process.join(300)
            assert process.exitcode == 0


@contextmanager
def _running(
    processes: list[multiprocessing.context.SpawnProcess],
) -> Iterator[list[multiprocessing.context.SpawnProcess]]:
    for process in processes:
        process.start()
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.join()
