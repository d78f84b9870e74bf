"""Derived data with versions, and leases."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from imagefinder.core.contracts import Store
from imagefinder.testing.stores.fixtures import StoreFixtures
from imagefinder.testing.stores.samples import data_of

_LONG = 600.0
"""A duration in seconds that no test outlives."""


class DerivedSuite(StoreFixtures):
    """Tests of ``derived``, ``put_derived`` and ``lease``."""

    def test_derived_data(self, store: Store) -> None:
        """Derived data are stored under plain names, can be replaced, and do not count as images."""
        assert store.derived("derived.json") is None
        store.put_derived("derived.json", b"one")
        store.put_derived("derived.json", b"another")
        store.put_derived("empty", b"")
        assert data_of(store, "derived.json") == b"another"
        assert data_of(store, "empty") == b""
        assert store.info().images == 0
        for name in ("", "..", "../x", "a/b", "a\\b", "A", ".hidden", "a\0b", "x" * 101):
            with pytest.raises(ValueError, match="plain word"):
                store.put_derived(name, b"")
            with pytest.raises(ValueError, match="plain word"):
                store.derived(name)

    def test_a_version_is_replaced_only_by_those_who_know_it(self, store: Store) -> None:
        """A write on the basis of another version changes nothing."""
        assert store.put_derived("x", b"early", replaces="of another time") is None
        assert store.derived("x") is None
        first = store.put_derived("x", b"first", replaces="")
        stored = store.derived("x")
        assert stored is not None
        assert first
        assert (stored.data, stored.version) == (b"first", first)
        assert store.put_derived("x", b"late", replaces="") is None
        second = store.put_derived("x", b"second", replaces=first)
        assert second not in (None, "", first)
        assert store.put_derived("x", b"late", replaces=first) is None
        assert data_of(store, "x") == b"second"
        assert store.put_derived("x", b"third") not in (None, first, second)
        assert data_of(store, "x") == b"third"

    def test_one_of_many_writers_is_first(self, store: Store) -> None:
        """Exactly one of the writers that replace the same version succeeds; it receives the stored version."""
        version = store.put_derived("x", b"start") or ""
        for turn in range(5):
            with ThreadPoolExecutor(4) as pool:
                writes = [
                    pool.submit(store.put_derived, "x", b"%d %d" % (turn, writer), replaces=version)
                    for writer in range(4)
                ]
                versions = [write.result() for write in writes]
            (version,) = [one for one in versions if one is not None]
            stored = store.derived("x")
            assert stored is not None
            assert (stored.data, stored.version) == (b"%d %d" % (turn, versions.index(version)), version)

    def test_no_increment_is_lost(self, store: Store) -> None:
        """Writers that repeat a failed write add up, whatever their order."""

        def increment(_: int) -> None:
            while True:
                stored = store.derived("count")
                count = int(stored.data) if stored else 0
                if store.put_derived("count", b"%d" % (count + 1), replaces=stored.version if stored else ""):
                    return

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(increment, range(20)))
        assert data_of(store, "count") == b"20"

    def test_a_lease_has_one_holder(self, store: Store) -> None:
        """It is free again after its release; leases of other names are independent."""
        lease = store.lease("work", _LONG)
        assert lease is not None
        assert store.lease("work", _LONG) is None
        other = store.lease("other work", _LONG)
        assert other is not None
        assert lease.renew()
        lease.release()
        lease.release()
        assert not lease.renew()
        again = store.lease("work", _LONG)
        assert again is not None
        lease.release()
        assert store.lease("work", _LONG) is None
        assert not lease.renew()
        assert again.renew()
        assert other.renew()

    def test_a_lease_ends_without_its_holder(self, store: Store) -> None:
        """A holder that does not renew it in time loses it to the next one."""
        first = store.lease("work", 0.2)
        assert first is not None
        deadline = time.monotonic() + 30
        while (second := store.lease("work", _LONG)) is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not first.renew()
        first.release()
        assert store.lease("work", _LONG) is None
        assert second.renew()

    def test_a_renewed_lease_lasts(self, store: Store) -> None:
        """It ends its duration after the last renewal."""
        lease = store.lease("work", 1.0)
        assert lease is not None
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            assert lease.renew()
            assert store.lease("work", _LONG) is None
            time.sleep(0.05)

    def test_many_ask_for_a_lease_at_once(self, store: Store) -> None:
        """Exactly one obtains it."""
        together = threading.Barrier(6)

        def obtain(_: int) -> bool:
            together.wait()
            return store.lease("work", _LONG) is not None

        with ThreadPoolExecutor(6) as pool:
            assert sum(pool.map(obtain, range(6))) == 1

    @pytest.mark.parametrize(("name", "seconds"), [("", 1.0), ("x", 0.0), ("x", -1.0), ("x", float("inf"))])
    def test_impossible_leases(self, store: Store, name: str, seconds: float) -> None:
        """A lease has a name and a positive, finite duration."""
        with pytest.raises(ValueError, match="lease"):
            store.lease(name, seconds)

    def test_other_objects_share_leases_and_versions(self, store: Store, other: Store) -> None:
        """A lease held by one object is held for all; a version read by one object is that of all."""
        lease = store.lease("work", _LONG)
        assert lease is not None
        assert other.lease("work", _LONG) is None
        version = store.put_derived("x", b"data", replaces="")
        assert version
        assert other.put_derived("x", b"theirs", replaces="") is None
        assert other.put_derived("x", b"theirs", replaces=version)
        assert store.put_derived("x", b"mine", replaces=version) is None
        lease.release()
        assert other.lease("work", _LONG) is not None
