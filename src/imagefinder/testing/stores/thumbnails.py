"""Features of thumbnails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imagefinder.core.contracts import Store
from imagefinder.core.features import FeatureSpec, LocalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, ThumbnailFeatures
from imagefinder.core.store_parts import SupportsBackup
from imagefinder.testing.stores.fixtures import StoreFixtures
from imagefinder.testing.stores.samples import ODD_IDS, MakeStore, content, entry, features, fingerprint

SPEC = FeatureSpec("local", 8, "uint8")
MADE_BY = Fingerprint("thumbnails", 1, {"side": 9})
OTHER = replace(MADE_BY, version=2)


def made(seed: int, count: int = 5, by: Fingerprint = MADE_BY) -> ThumbnailFeatures:
    """Seeded features of a thumbnail."""
    batch = features("points", seed, count)
    assert isinstance(batch, LocalFeatures)
    return ThumbnailFeatures(by, batch)


def with_features(image_id: str, seed: int, count: int = 5, by: Fingerprint = MADE_BY) -> Entry:
    """An image with seeded features of its thumbnail."""
    return replace(entry(image_id, seed), thumbnail_features=made(seed, count, by))


def stored(store: Store, *ids: str, by: Fingerprint = MADE_BY) -> dict[str, object]:
    """Id -> content of the stored features."""
    return {one: content(batch) for one, batch in store.thumbnail_features(ids, by, SPEC).items()}


class ThumbnailSuite(StoreFixtures):
    """Tests of ``thumbnail_features``, ``put_thumbnail_features``, ``lacking_...`` and ``thumbnail_usage``."""

    def test_put_and_read(self, store: Store) -> None:
        """Features put with an image are returned bit for bit, those of many images in one call."""
        store.put([with_features(image_id, seed, seed) for seed, image_id in enumerate(ODD_IDS)])
        expected = {image_id: content(made(seed, seed).features) for seed, image_id in enumerate(ODD_IDS)}
        assert stored(store, *ODD_IDS, "unknown", "\ud800", "") == expected
        assert stored(store) == {}
        many = [f"{number}" for number in range(1200)]
        store.put([with_features(image_id, 1, 2) for image_id in many])
        assert set(stored(store, *many)) == set(many)

    def test_they_are_no_method(self, store: Store) -> None:
        """They appear neither among the methods of an image nor in the counts of features."""
        before = store.info().methods
        store.put([replace(with_features("a", 1), features={})])
        assert store.status(["a"])["a"].methods == frozenset()
        assert {name: (one.images, one.bytes) for name, one in store.info().methods.items()} == {
            name: (one.images, one.bytes) for name, one in before.items()
        }

    def test_only_features_with_the_fingerprint_count(self, store: Store) -> None:
        """Features of another version are as good as none, and are replaced."""
        store.put([with_features("a", 1, by=OTHER), with_features("b", 2), entry("c", 3)])
        assert set(stored(store, "a", "b", "c")) == {"b"}
        assert set(stored(store, "a", "b", "c", by=OTHER)) == {"a"}
        assert sorted(store.lacking_thumbnail_features(MADE_BY, limit=9)) == ["a", "c"]
        store.put_thumbnail_features({"a": made(1)}, {"a": entry("a", 1).thumbnail})
        assert set(stored(store, "a", "b")) == {"a", "b"}
        assert stored(store, "a", by=OTHER) == {}

    def test_a_replaced_image_loses_them(self, store: Store) -> None:
        """Replaced, removed and renamed images lose the features of their thumbnails."""
        store.put([with_features("a", 1), with_features("b", 2), with_features("c", 3)])
        store.put([entry("a", 4)])
        store.delete(["b"])
        store.put([with_features("d", 3)], replacing=["c"])
        assert set(stored(store, "a", "b", "c", "d")) == {"d"}
        store.put([entry("b", 2)])
        assert stored(store, "b") == {}

    def test_other_changes_keep_them(self, store: Store) -> None:
        """New features of a method and a new location concern another part of the image."""
        store.put([with_features("a", 1)])
        store.put_features("a", {"vector": features("vector", 9)})
        store.touch("a", uri="file:///new", stamp="new")
        store.unregister("points")
        assert set(stored(store, "a")) == {"a"}

    def test_completing(self, store: Store) -> None:
        """Features are stored for images that still have the thumbnail that they were computed from."""
        store.put([entry("a", 1), entry("b", 2), Entry(entry("bare").image, {}), with_features("full", 3)])
        assert sorted(store.lacking_thumbnail_features(MADE_BY, limit=9)) == ["a", "b"]
        assert len(store.lacking_thumbnail_features(MADE_BY, limit=1)) == 1
        assert store.lacking_thumbnail_features(MADE_BY, limit=0) == []
        ids = ("a", "b", "bare", "removed")
        thumbnails = {one: entry(one, 1).thumbnail for one in ids}
        store.put_thumbnail_features({one: made(1) for one in ids}, thumbnails | {"bare": b""})
        assert stored(store, *ids) == {"a": content(made(1).features)}
        assert store.lacking_thumbnail_features(MADE_BY, limit=9) == ["b"]
        store.put_thumbnail_features({}, {})

    def test_usage(self, store: Store) -> None:
        """Number and bytes are counted through every kind of change."""
        assert (store.thumbnail_usage(MADE_BY).images, store.thumbnail_usage(MADE_BY).bytes) == (0, 0)
        store.put([with_features("a", 1, 50), with_features("b", 2, 50), with_features("c", 3, by=OTHER)])
        both = store.thumbnail_usage(MADE_BY)
        assert both.images == 2
        assert 500 < both.bytes < 4000
        store.put([with_features("a", 1, 0)])
        assert 0 < store.thumbnail_usage(MADE_BY).bytes < 0.7 * both.bytes
        store.delete(["a", "b"])
        assert store.thumbnail_usage(MADE_BY).images == 0
        assert store.thumbnail_usage(OTHER).images == 1

    def test_features_without_a_thumbnail_are_not_stored(self, store: Store) -> None:
        """It would be unknown what they were computed from."""
        store.put([replace(with_features("a", 1), thumbnail=b"")])
        assert stored(store, "a") == {}

    def test_features_of_several_images_are_rejected(self, store: Store) -> None:
        """Such features are rejected like those of a method; nothing is put."""
        batch = made(1, 4).features
        two = LocalFeatures(batch.descriptors, batch.keypoints, np.array([0, 2, 4], dtype=np.int64))
        wrong = ThumbnailFeatures(MADE_BY, two)
        with pytest.raises(ValueError, match="one image"):
            store.put([entry("b"), replace(entry("a", 1), thumbnail_features=wrong)])
        assert store.status(["a", "b"]) == {}
        store.put([entry("a", 1)])
        with pytest.raises(ValueError, match="one image"):
            store.put_thumbnail_features({"a": wrong}, {"a": entry("a", 1).thumbnail})

    def test_returned_arrays_do_not_share_memory(self, store: Store) -> None:
        """The store keeps copies."""
        given = made(1)
        expected = content(given.features)
        store.put([replace(entry("a", 1), thumbnail_features=given)])
        given.features.descriptors[:] = 0
        assert stored(store, "a") == {"a": expected}

    def test_a_dropped_thumbnail_takes_them_along(self, store: Store) -> None:
        """A repair that drops a thumbnail drops what was derived from it; a sound store keeps both."""
        store.put([with_features("a", 1), with_features("b", 2)])
        assert store.check(repair=True) == []
        assert set(stored(store, "a", "b")) == {"a", "b"}
        assert store.check(repair=True, sound_thumbnail=lambda data: data != entry("b", 2).thumbnail)
        assert set(stored(store, "a", "b")) == {"a"}
        assert store.lacking_thumbnail_features(MADE_BY, limit=9) == []

    def test_others_see_them(self, store: Store, other: Store) -> None:
        """Another process sees them when the call has returned."""
        store.put([with_features("a", 1), entry("b", 2)])
        assert set(stored(other, "a")) == {"a"}
        other.put_thumbnail_features({"b": made(2)}, {"b": entry("b", 2).thumbnail})
        assert set(stored(store, "a", "b")) == {"a", "b"}

    def test_a_backup_contains_them(
        self, store: Store, make_store: MakeStore, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """A restored collection does not have to compute them again."""
        if not isinstance(store, SupportsBackup):
            pytest.skip("this store has no backups")
        store.register(fingerprint("points"), SPEC)
        store.put([with_features("a", 1)])
        folder = tmp_path_factory.mktemp("backup") / "copy"
        store.backup(folder)
        copy = make_store(folder)
        try:
            assert stored(copy, "a") == {"a": content(made(1).features)}
        finally:
            copy.close()
