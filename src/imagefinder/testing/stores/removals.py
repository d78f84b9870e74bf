"""Removals, moved images, and lookups by other properties than the id."""

from __future__ import annotations

import time
import unicodedata
from dataclasses import replace

import pytest

from imagefinder.core.contracts import Store
from imagefinder.core.errors import UnknownImageError
from imagefinder.testing.stores.fixtures import StoreFixtures
from imagefinder.testing.stores.samples import METHODS, content, entry, features


class RemovalSuite(StoreFixtures):
    """Tests of ``delete(remember=True)``, ``removals``, ``put(replacing=...)`` and ``StoreLookups``."""

    def test_removals_are_remembered_until_the_image_is_put(self, store: Store) -> None:
        """Only ``remember`` records them, only for images with a URI, and ``put`` takes them back."""
        store.put([entry("a", 1, source="s"), entry("b", 2), entry("c", 3, uri=""), entry("d", 4)])
        assert store.delete(["a", "b", "c", "unknown"], remember=True) == 3
        assert store.delete(["d"]) == 1
        first, second = store.removals()
        assert (first.id, first.uri, first.sha256, first.source) == ("a", "file:///images/1.jpg", f"{1:064x}", "s")
        assert abs(first.at - time.time()) < 60
        assert second.id == "b"
        assert store.removals(ids=["b", "d", "unknown"]) == [second]
        assert store.removals(sha256=f"{1:064x}") == [first]
        store.put([entry("b", 5)])
        assert store.removals() == [first]
        assert store.forget_removals(["a", "unknown"]) == 1
        assert store.removals() == []

    def test_one_id_from_several_places(self, store: Store) -> None:
        """Removals of one id are kept per URI; a page is never cut within an id."""
        for seed in (3, 1, 2):
            store.put([entry("same", seed, source="s"), entry("z", 9)])
            store.delete(["same"], remember=True)
        assert [removal.uri for removal in store.removals(ids=["same"])] == [
            f"file:///images/{seed}.jpg" for seed in (1, 2, 3)
        ]
        store.put([entry("same", 2, source="s")])
        assert [removal.sha256[-1] for removal in store.removals(ids=["same"])] == ["1", "3"]
        store.put([entry("a", 4), entry("b", 5), entry("c", 6)])
        store.delete(["a", "b", "c"], remember=True)
        assert [removal.id for removal in store.removals(limit=2)] == ["a", "b"]
        assert [removal.id for removal in store.removals(after="b", limit=2)] == ["c", "same", "same"]
        assert store.removals(limit=0) == []
        store.put([entry("same", 7, source="")])
        assert store.removals(ids=["same"]) == []

    def test_a_removal_moves_with_its_file(self, store: Store) -> None:
        """It gets another id and URI, keeps the rest, and is then cleared by putting that image."""
        store.put([entry("old", 1, source="s")])
        store.delete(["old"], remember=True)
        (removal,) = store.removals()
        moved = replace(removal, id="new", uri="file:///images/2.jpg", source="t")
        store.move_removal(removal, moved)
        store.move_removal(removal, replace(removal, id="newer"))
        assert store.removals() == store.removals(sha256=removal.sha256) == [moved]
        store.put([entry("new", 2, source="t")])
        assert store.removals() == []

    def test_put_replacing_moves_an_image(self, store: Store) -> None:
        """The earlier id goes without a removal, in the transaction of the new one."""
        store.put([entry("old", 1), entry("other", 2)])
        before = store.entry("old")
        store.put([entry("new", 1)], replacing=["old", "unknown"])
        assert [record.id for record in store.images()] == ["new", "other"]
        assert store.removals() == []
        assert content(store.features("new", "points")) == content(before.features["points"])
        with pytest.raises(ValueError, match="not registered"):
            store.put([replace(before, features={"unknown": features("vector", 1)})], replacing=["new"])
        assert [record.id for record in store.images()] == ["new", "other"]

    def test_entry_is_the_whole_image(self, store: Store) -> None:
        """Record, features and thumbnail, as they were put."""
        given = entry("a", 3, metadata={"x": 1})
        store.put([given])
        found = store.entry("a")
        assert found.image == store.get("a")
        assert found.thumbnail == given.thumbnail
        assert set(found.features) == set(METHODS)
        for method, batch in given.features.items():
            assert content(found.features[method]) == content(batch)
        with pytest.raises(UnknownImageError):
            store.entry("unknown")

    def test_copies_have_the_same_bytes(self, store: Store) -> None:
        """Images are found by the SHA-256 of their bytes."""
        store.put([entry("b", 1), entry("a", 1), entry("c", 2)])
        assert [record.id for record in store.copies(f"{1:064x}")] == ["a", "b"]
        assert store.copies("") == []

    def test_both_unicode_forms_of_an_id_are_equivalent(self, store: Store) -> None:
        """Ids are found in every normalisation form, and stay distinct images."""
        composed, mixed = "x/Caf\u00e9/M\u00fc.jpg", "x/Caf\u00e9/Mu\u0308.jpg"
        decomposed = unicodedata.normalize("NFD", composed)
        store.put([entry(mixed, 1), entry("x/Cafe/Mu.jpg", 2), entry("\u00fc", 3), entry("plain", 4)])
        assert store.equivalents(composed) == store.equivalents(decomposed) == [mixed]
        assert store.equivalents("u\u0308") == ["\u00fc"]
        assert store.equivalents("plain") == ["plain"]
        assert store.equivalents("unknown") == store.equivalents("x/Caf\u00e9") == store.equivalents("") == []
        store.put([entry(decomposed, 5)])
        assert store.equivalents(composed) == sorted([mixed, decomposed])
        assert store.info().images == 5
