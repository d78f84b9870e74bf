"""Reading features of many images: scans, selections and checksums."""

from __future__ import annotations

import numpy as np
import pytest

from imagefinder.core.contracts import Store
from imagefinder.core.errors import (
    MethodNotIndexedError,
)
from imagefinder.core.features import FeatureSpec, GlobalFeatures
from imagefinder.core.records import Entry
from imagefinder.testing.stores.fixtures import StoreFixtures
from imagefinder.testing.stores.samples import (
    METHODS,
    content,
    entry,
    features,
    fingerprint,
    scanned,
)


class ScanSuite(StoreFixtures):
    """Tests of ``scan``, ``select``, ``load`` and ``checksums``."""

    def test_scan_of_an_unknown_method(self, store: Store) -> None:
        """The error names the method, and those that are registered."""
        with pytest.raises(MethodNotIndexedError, match="unregistered") as caught:
            list(store.scan("unregistered"))
        assert caught.value.indexed == tuple(sorted(METHODS))

    def test_scan_without_images(self, store: Store) -> None:
        """A method without images gives no images."""
        assert scanned(store, "points") == {}

    def test_scan_in_blocks(self, store: Store) -> None:
        """Every image appears completely and exactly once, before and after scattered changes."""
        store.put([entry(f"{number}", number, methods=["points"]) for number in range(300)])
        expected = {f"{number}": content(features("points", number)) for number in range(300)}
        assert scanned(store, "points") == expected
        for number in range(0, 300, 7):
            del expected[f"{number}"]
        store.delete([f"{number}" for number in range(0, 300, 7)])
        assert scanned(store, "points") == expected
        for number in range(1, 100, 3):
            store.put([entry(f"{number}", number + 1000, methods=["points"])])
            expected[f"{number}"] = content(features("points", number + 1000))
        assert scanned(store, "points") == expected

    def test_select(self, store: Store) -> None:
        """Features are returned in the order of the ids, without duplicates or unknown images."""
        store.put([entry(f"{number}", number, methods=["points"]) for number in range(1200)])
        store.put([entry("other", 1, methods=["tokens"])])
        wanted = [f"{number}" for number in range(1199, -1, -1)]
        block = store.select("points", ["gone", "7", *wanted, "other", "7", ""])
        assert block.ids == ("7", *(image_id for image_id in wanted if image_id != "7"))
        for number in (0, 1, 600, 1199):
            image_id = block.ids[number]
            assert content(block.features.image(number)) == content(features("points", int(image_id)))
        assert store.select("vector", ["7"]).ids == ()
        assert store.select("points", []).features.spec() == METHODS["points"]
        with pytest.raises(MethodNotIndexedError):
            store.select("unregistered", ["7"])

    def test_checksums_depend_on_features_and_image(self, store: Store) -> None:
        """The same features of the same image have the same checksum, also under another key."""
        store.put([entry("a", 1), entry("b", 1), entry("c", 2)])
        changes = store.changes("points", None)
        found = store.checksums("points", changes.new)
        assert sorted(found) == changes.new.tolist()
        assert len(set(found.values())) == 3
        store.put([entry("a", 1)])
        later = store.changes("points", None)
        again = store.checksums("points", np.sort(np.concatenate([changes.new, later.new])))
        assert sorted(again) == later.new.tolist()
        assert again[int(later.new[-1])] == found[int(changes.new[0])]

    def test_blocks_have_bounded_size(self, store: Store) -> None:
        """A hundred megabytes are returned in several blocks."""
        store.register(fingerprint("wide"), FeatureSpec("global", 1 << 20, "float32"))
        vectors = np.zeros((1, 1 << 20), dtype=np.float32)
        for number in range(25):
            vectors[0, 0] = number
            store.put([Entry(entry(f"{number}").image, {"wide": GlobalFeatures(vectors)})])
        sizes = []
        for block in store.scan("wide"):
            assert isinstance(block.features, GlobalFeatures)
            assert [f"{value:.0f}" for value in block.features.vectors[:, 0]] == list(block.ids)
            sizes.append(block.features.nbytes)
        assert sum(sizes) == 25 * vectors.nbytes
        assert max(sizes) <= 64 << 20

    def test_changes_during_a_scan(self, store: Store) -> None:
        """Changes do not disturb a scan: images that appear are complete."""
        store.put([entry(f"{number}", number) for number in range(50)])
        scan = store.scan("points")
        first = next(scan)
        store.put([entry(f"{number}", number + 100) for number in range(20)])
        store.delete([f"{number}" for number in range(30, 40)])
        seen = {i: content(first.features.image(n)) for n, i in enumerate(first.ids)}
        for block in scan:
            seen |= {i: content(block.features.image(n)) for n, i in enumerate(block.ids)}
        for image_id, found in seen.items():
            assert found in [content(features("points", int(image_id) + more)) for more in (0, 100)]
        assert len(scanned(store, "points")) == 40
