"""The suite finds the faults that a feed of changes can have with many writers."""

import threading
import time

import pytest

from imagefinder.core.records import Changes
from imagefinder.stores.memory import MemoryStore
from imagefinder.testing.stores.feed import FeedSuite
from imagefinder.testing.stores.samples import entry, register


class KeysBeforeCommits(MemoryStore):
    """Gives keys when a put begins and stores the images later, as transactions with a sequence do."""

    def __init__(self):
        super().__init__()
        self.giving = threading.Lock()

    def put(self, entries, *, replacing=()):
        with self.giving:
            first, self._feed.last = self._feed.last, self._feed.last + 4 * len(entries)
        time.sleep(0.001)
        with self._lock, self.giving:
            last, self._feed.last = self._feed.last, first
            super().put(entries, replacing=replacing)
            self._feed.last = last


class ForgottenRemovals(MemoryStore):
    """Reports no removals."""

    def changes(self, method, since):
        found = super().changes(method, since)
        return Changes(found.cursor, found.new, found.sizes, found.gone[:0], complete=found.complete)


class Suite(FeedSuite):
    persistent = False


@pytest.mark.parametrize("make_store", [KeysBeforeCommits, ForgottenRemovals])
def test_lost_and_returned_images_are_found(make_store, tmp_path):
    store = make_store()
    register(store)
    with pytest.raises(AssertionError):
        Suite().test_many_writers_and_followers(store, None, None, tmp_path, 4)


def test_repeated_keys_are_accepted(tmp_path):
    class Repeating(MemoryStore):
        """Reports the last keys again, as a store with a snapshot cursor does."""

        def changes(self, method, since):
            found = super().changes(method, since)
            if found.complete:
                return found
            history, last, removed = since.split(".")
            earlier = f"{history}.{max(0, int(last) - 9)}.{max(0, int(removed) - 5)}"
            again = super().changes(method, earlier)
            return Changes(again.cursor, again.new, again.sizes, again.gone)

    store = Repeating()
    register(store)
    store.put([entry(f"{n}", n) for n in range(9)])
    Suite().test_many_writers_and_followers(store, None, None, tmp_path, 2)
