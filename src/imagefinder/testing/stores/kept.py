"""Previews and originals of uploaded images."""

from __future__ import annotations

from dataclasses import replace

from imagefinder.core.contracts import Store
from imagefinder.core.previews import KeptKind
from imagefinder.core.records import Entry
from imagefinder.testing.stores.fixtures import StoreFixtures
from imagefinder.testing.stores.samples import ODD_IDS, entry

PREVIEW, ORIGINAL = b"\xff\xd8 preview" * 2000, bytes(range(256)) * 900


def uploaded(image_id: str, seed: int = 0, **kept: bytes) -> Entry:
    """An image with what is kept of it, by kind."""
    given: dict[KeptKind, bytes] = {kind: kept[kind] for kind in ("preview", "original") if kind in kept}
    return replace(entry(image_id, seed, uri=""), kept=given)


class KeptSuite(StoreFixtures):
    """Tests of ``kept`` and ``kept_sizes``."""

    def test_previews_and_originals_are_kept(self, store: Store) -> None:
        """Previews and originals are returned bit for bit."""
        given = [uploaded(image_id, n, preview=b"%d" % n + PREVIEW) for n, image_id in enumerate(ODD_IDS)]
        store.put([*given, uploaded("both", 1, preview=PREVIEW, original=ORIGINAL), entry("neither", 2)])
        wanted = [*ODD_IDS, "both", "neither", "unknown", "\ud800", ""]
        previews = {image_id: b"%d" % n + PREVIEW for n, image_id in enumerate(ODD_IDS)}
        assert store.kept(wanted, "preview") == previews | {"both": PREVIEW}
        assert store.kept(wanted, "original") == {"both": ORIGINAL}
        assert store.kept([], "preview") == {}
        sizes = store.kept_sizes(wanted)
        assert sizes.pop("both") == {"preview": len(PREVIEW), "original": len(ORIGINAL)}
        assert sizes == {image_id: {"preview": len(data)} for image_id, data in previews.items()}

    def test_what_is_kept_goes_with_its_image(self, store: Store) -> None:
        """Nothing is left of an earlier image with the same id."""
        store.put([uploaded("a", 1, preview=PREVIEW, original=ORIGINAL), uploaded("b", 2, preview=PREVIEW)])
        store.put([uploaded("a", 3, preview=b"new")])
        assert store.kept(["a", "b"], "preview") == {"a": b"new", "b": PREVIEW}
        assert store.kept(["a", "b"], "original") == {}
        store.delete(["b"])
        assert store.kept_sizes(["a", "b"]) == {"a": {"preview": 3}}
        store.put([entry("b", 2)])
        assert store.kept_sizes(["b"]) == {}
        store.put([entry("c", 2)], replacing=["a"])
        assert store.kept_sizes(["a", "c"]) == {}
        assert store.check() == []

    def test_an_empty_preview_is_not_kept(self, store: Store) -> None:
        """An empty preview is not stored."""
        store.put([uploaded("a", 1, preview=b"")])
        assert store.kept_sizes(["a"]) == {}
        assert store.kept(["a"], "preview") == {}
