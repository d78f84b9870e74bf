"""Maintenance: failures, counts, checks and backups."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from imagefinder.core.contracts import Store
from imagefinder.core.errors import (
    SourceError,
)
from imagefinder.core.records import Failure
from imagefinder.core.store_parts import SupportsBackup
from imagefinder.testing.stores.fixtures import StoreFixtures
from imagefinder.testing.stores.samples import (
    METHODS,
    ODD_IDS,
    MakeStore,
    content,
    data_of,
    entry,
    features,
    fingerprint,
    scanned,
)


class UpkeepSuite(StoreFixtures):
    """Tests of ``record_failures``, ``info``, ``check``, ``backup`` and ``close``."""

    def test_failures(self, store: Store) -> None:
        """Failures are counted and ordered by id, and deleted on request or when the image is put."""
        store.record_failures(
            [Failure("b", "uri b", "bad", "first"), Failure("a", "uri a", "bad", "once", source="s")]
        )
        store.record_failures([Failure("b", "uri 2", "worse", "second", attempts=9)])
        a, b = store.failures()
        assert (a.id, a.uri, a.code, a.message, a.attempts, a.source) == ("a", "uri a", "bad", "once", 1, "s")
        assert (b.id, b.uri, b.code, b.message, b.attempts) == ("b", "uri 2", "worse", "second", 2)
        assert abs(b.at - time.time()) < 60
        assert store.info().failures == 2
        store.put([entry("b")])
        assert [failure.id for failure in store.failures()] == ["a"]
        assert [failure.id for failure in store.failures(after="", limit=1)] == ["a"]
        assert store.failures(after="a") == []
        store.record_failures([Failure(name, "", "bad", "m") for name in ("c", "d", "é")])
        assert [failure.id for failure in store.failures(after="a", limit=2)] == ["c", "d"]
        assert [failure.id for failure in store.failures(after="c")] == ["d", "é"]
        assert store.failures(limit=0) == []
        store.forget_failures(["c", "d", "é"])
        store.forget_failures(["a", "unknown"])
        assert store.failures() == []
        store.record_failures([Failure("b", "", "bad", "again")])
        assert store.failures()[0].attempts == 1
        assert store.get("b").id == "b"
        store.record_failures([])

    def test_a_failure_message_may_be_any_string(self, store: Store) -> None:
        """Including an undecodable file name."""
        store.record_failures([Failure("a", "", "bad", "no such file: caf\udce9.jpg")])
        assert store.failures()[0].message.startswith("no such file: caf")

    def test_info(self, store: Store) -> None:
        """Images and bytes of features are counted by method, through every kind of change."""
        store.put([entry("a", 1), entry("b", 2, methods=["points"])])
        store.put([entry("a", 3)])
        store.put_features("b", {"vector": features("vector", 4), "points": features("points", 4, 7)})
        store.put([entry("c", 5)])
        store.delete(["c"])
        info = store.info()
        assert info.images == 2
        assert {name: (stored.images, stored.bytes) for name, stored in info.methods.items()} == {
            "points": (2, (5 + 7) * (8 + 16)),
            "tokens": (1, 5 * (24 + 16)),
            "int8 tokens": (1, 5 * (6 + 16)),
            "vector": (2, 2 * 48),
        }
        for name, stored in info.methods.items():
            assert (stored.fingerprint, stored.spec) == (fingerprint(name), METHODS[name])
        assert info.location
        assert (info.bytes_on_disk > 0) == self.persistent

    def test_an_undamaged_store(self, store: Store) -> None:
        """A check finds no damage, and a repair changes nothing."""
        store.put([entry(image_id, seed) for seed, image_id in enumerate(ODD_IDS)])
        store.put([entry("bare", methods=())])
        before = {method: scanned(store, method) for method in METHODS}
        assert store.check() == []
        assert store.check(repair=True) == []
        assert {method: scanned(store, method) for method in METHODS} == before

    def test_damage_recognised_by_the_caller(self, store: Store) -> None:
        """Unusable thumbnails and derived data are found, and dropped by a repair."""
        store.put([entry("a", 1), entry("b", 2)])
        store.put_derived("sound.json", b"good")
        store.put_derived("other.json", b"bad")

        def check(*, repair: bool) -> list[tuple[str, str, bool]]:
            found = store.check(
                repair=repair,
                sound_thumbnail=lambda data: data != entry("b", 2).thumbnail,
                sound_derived=lambda name, data: name != "other.json" and data == b"good",
            )
            return sorted((damage.kind, damage.image_id, bool(damage.repaired)) for damage in found)

        assert check(repair=False) == [("derived", "", False), ("thumbnail", "b", False)]
        assert check(repair=True) == [("derived", "", True), ("thumbnail", "b", True)]
        assert check(repair=False) == []
        assert (store.thumbnail("a"), store.thumbnail("b")) == (entry("a", 1).thumbnail, b"")
        assert (data_of(store, "sound.json"), data_of(store, "other.json")) == (b"good", None)

    def test_a_backup_is_a_complete_store(self, store: Store, make_store: MakeStore, tmp_path: Path) -> None:
        """It contains all data of that moment; an existing destination is not overwritten."""
        if not isinstance(store, SupportsBackup):
            pytest.skip("this store has no backups")
        store.put([entry("a", 1), entry("b", 2)])
        store.backup(tmp_path / "deep" / "copy")
        store.delete(["a"])
        copy = make_store(tmp_path / "deep" / "copy")
        try:
            assert [record.id for record in copy.images()] == ["a", "b"]
            assert {method: scanned(copy, method) for method in METHODS} == {
                method: {"a": content(features(method, 1)), "b": content(features(method, 2))}
                for method in METHODS
            }
            with pytest.raises(SourceError):
                store.backup(tmp_path / "deep" / "copy")
            assert len(copy.images()) == 2
        finally:
            copy.close()
        assert [path.name for path in (tmp_path / "deep").iterdir()] == ["copy"]

    def test_close_twice(self, store: Store) -> None:
        """A second call has no effect."""
        store.put([entry("a")])
        store.close()
        store.close()
