"""Concurrent use of one store by several objects and threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from imagefinder.core.contracts import Store
from imagefinder.core.errors import (
    FingerprintMismatchError,
    MethodNotIndexedError,
)
from imagefinder.core.records import Failure
from imagefinder.testing.stores.fixtures import StoreFixtures
from imagefinder.testing.stores.samples import (
    METHODS,
    MakeStore,
    content,
    data_of,
    entry,
    features,
    fingerprint,
    scanned,
)


class SharingSuite(StoreFixtures):
    """Tests that changes are visible to all objects, and that none is lost."""

    def test_changes_are_visible_to_other_objects(self, store: Store, other: Store) -> None:
        """All kinds of changes are visible without reopening."""
        assert scanned(other, "points") == {}
        store.put([entry("a", 1), entry("b", 2)])
        assert set(scanned(other, "points")) == {"a", "b"}
        store.put([entry("a", 3)])
        assert scanned(other, "points")["a"] == content(features("points", 3))
        store.put_features("b", {"points": features("points", 4)})
        assert scanned(other, "points")["b"] == content(features("points", 4))
        store.delete(["a"])
        assert set(scanned(other, "points")) == {"b"}
        store.touch("b", uri="moved", stamp="s")
        assert other.get("b").uri == "moved"
        store.record_failures([Failure("x", "", "bad", "m")])
        assert other.failures()[0].id == "x"
        store.unregister("points")
        assert "points" not in other.info().methods
        with pytest.raises(MethodNotIndexedError):
            list(other.scan("points"))
        store.put_derived("derived.json", b"data")
        assert data_of(other, "derived.json") == b"data"
        other.put([entry("c", 5, methods=["vector"])])
        assert set(scanned(store, "vector")) == {"b", "c"}

    def test_data_persist_after_reopening(self, store: Store, make_store: MakeStore, tmp_path: Path) -> None:
        """Records, thumbnails, features, failures and counts are the same."""
        if not self.persistent:
            pytest.skip("this store is not persistent")
        given = entry("a", 1, metadata={"title": "Ä"}, source="s")
        store.put([given, entry("b", 2)])
        store.record_failures([Failure("x", "", "bad", "m")])
        record, info = store.get("a"), store.info()
        store.close()
        again = make_store(tmp_path / "store")
        assert again.get("a") == record
        assert again.thumbnail("a") == given.thumbnail
        assert again.failures()[0].id == "x"
        assert replace(again.info(), bytes_on_disk=0) == replace(info, bytes_on_disk=0)
        assert set(scanned(again, "points")) == {"a", "b"}
        again.close()

    def test_features_of_two_fingerprints_are_never_mixed(self, store: Store, other: Store) -> None:
        """An object cannot put features once another object has registered the method differently."""
        store.put([entry("a", 1)])
        other.unregister("points")
        other.register(fingerprint("points", size=8), METHODS["points"])
        with pytest.raises(FingerprintMismatchError, match=r"8.*7"):
            store.put([entry("b", 2)])
        with pytest.raises(FingerprintMismatchError, match=r"8.*7"):
            store.put_features("a", {"points": features("points", 2)})
        assert scanned(other, "points") == {}
        store.put([entry("c", 3, methods=["vector"])])
        other.put([entry("d", 4)])
        assert set(scanned(store, "points")) == {"d"}

    def test_threads(self, store: Store) -> None:
        """With concurrent writers and readers, there are no errors, partial images or lost images."""
        stop = threading.Event()
        counts = range(1, 6)
        whole = {n: {content(features("points", n * 100 + c, c)) for c in counts} for n in range(8)}

        def write(worker: int) -> None:
            for turn in range(20):
                number, count = (worker + turn) % 8, turn % 5 + 1
                given = {"points": features("points", number * 100 + count, count)}
                store.put([replace(entry(f"{number}"), features=given), entry(f"own {worker} {turn}")])
                if turn % 4 == 3:
                    store.delete([f"own {worker} {turn - 1}", f"{(number + 1) % 8}"])

        def read() -> int:
            scans = 0
            while not stop.is_set() or not scans:
                for image_id, found in scanned(store, "points").items():
                    assert not image_id.isdigit() or found in whole[int(image_id)]
                for record in store.images(limit=5):
                    store.status([record.id])
                store.info()
                scans += 1
            return scans

        with ThreadPoolExecutor(6) as pool:
            readers = [pool.submit(read) for _ in range(3)]
            writers = [pool.submit(write, worker) for worker in range(3)]
            try:
                for writer in writers:
                    writer.result()
            finally:
                stop.set()
            assert all(reader.result() for reader in readers)
        kept = {f"own {worker} {turn}" for worker in range(3) for turn in range(20) if turn % 4 != 2}
        assert kept == {image_id for image_id in scanned(store, "points") if image_id.startswith("own")}
