"""Storing and reading images: records, thumbnails, features, ids and metadata."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from imagefinder.core.contracts import Store
from imagefinder.core.errors import (
    InputError,
    MethodNotIndexedError,
    UnknownImageError,
)
from imagefinder.core.features import Features, GlobalFeatures, LocalFeatures
from imagefinder.core.metadata import MAX_ID_BYTES
from imagefinder.core.records import Entry, Failure
from imagefinder.testing.stores.fixtures import StoreFixtures
from imagefinder.testing.stores.samples import (
    METHODS,
    ODD_IDS,
    content,
    entry,
    features,
    scanned,
)


class ImageSuite(StoreFixtures):
    """Tests of ``put``, ``get``, ``touch``, ``delete`` and ``put_features``."""

    def test_put_and_get(self, store: Store) -> None:
        """Record, thumbnail and features are returned bit for bit."""
        given = entry(
            "a", 3, source="file:///images", metadata={"title": "Ä 😀", "n": [1, 2.5, None, {"x": True}]}
        )
        before = time.time()
        store.put([given])
        record = store.get("a")
        assert before - 1 <= record.added_at <= time.time() + 1
        assert replace(record, added_at=0.0) == given.image
        assert store.thumbnail("a") == given.thumbnail
        for method in METHODS:
            assert content(store.features("a", method)) == content(given.features[method])
            assert scanned(store, method) == {"a": content(given.features[method])}

    def test_the_store_sets_the_time(self, store: Store) -> None:
        """``added_at`` of a record that is put is ignored."""
        store.put([entry("a", added_at=5.0)])
        assert store.get("a").added_at > 1e9

    def test_special_floats_are_preserved(self, store: Store) -> None:
        """NaN payloads, infinities, negative zero and subnormal numbers keep their bits."""
        bits = np.array([0x7FC12345, 0xFF800001, 0x7F800000, 0xFF800000, 0x80000000, 1, 0x7F7FFFFF, 0, 2, 3, 4, 5])
        vectors = bits.astype(np.uint32).view(np.float32).reshape(1, 12)
        store.put([Entry(entry("a").image, {"vector": GlobalFeatures(vectors)})])
        assert content(store.features("a", "vector"))[2] == vectors.tobytes()

    def test_views_of_larger_arrays(self, store: Store) -> None:
        """Views of a batch, and arrays of other memory layouts, are stored by value."""
        whole = np.arange(24, dtype=np.uint8).reshape(8, 3).T
        local = LocalFeatures(whole, np.zeros((3, 4), dtype=np.float32), np.array([0, 3], dtype=np.int64))
        batch = GlobalFeatures(np.arange(36, dtype=np.float32).reshape(3, 12))
        store.put([Entry(entry("a").image, {"points": local, "vector": batch.image(1)})])
        assert content(store.features("a", "points"))[1] == (whole.dtype.str, (3, 8), whole.tobytes())
        assert content(store.features("a", "vector")) == content(batch.image(1))

    def test_arguments_may_be_modified_after_the_call(self, store: Store) -> None:
        """The store keeps copies."""
        given = features("vector", 1)
        assert isinstance(given, GlobalFeatures)
        expected = content(given)
        tags = ["x"]
        store.put([Entry(entry("a", metadata={"tags": tags}).image, {"vector": given})])
        given.vectors[:] = 0
        tags.append("y")
        assert content(store.features("a", "vector")) == expected
        assert store.get("a").metadata == {"tags": ["x"]}

    def test_an_image_without_descriptors(self, store: Store) -> None:
        """A blank image is stored like any other."""
        store.put([entry("full", 1), replace(entry("blank"), features={"points": features("points", 0, 0)})])
        store.put([replace(entry("empty"), features={"points": features("points", 0, 0)}), entry("last", 2)])
        assert content(store.features("blank", "points"))[1] == ("|u1", (0, 8), b"")
        assert set(scanned(store, "points")) == {"full", "blank", "empty", "last"}
        assert scanned(store, "points")["blank"] == content(features("points", 0, 0))
        assert store.info().methods["points"].images == 4

    def test_an_image_without_features(self, store: Store) -> None:
        """It exists, but does not appear in scans."""
        store.put([Entry(entry("a").image, {})])
        assert store.get("a").id == "a"
        assert store.thumbnail("a") == b""
        assert store.status(["a"])["a"].methods == frozenset()
        assert scanned(store, "points") == {}

    def test_put_replaces_the_whole_image(self, store: Store) -> None:
        """Record, thumbnail and all features are replaced; features of other methods are deleted."""
        store.put([entry("a", 1), entry("b", 2)])
        store.put([entry("a", 3, methods=["points"], metadata={"new": 1})])
        assert store.get("a").sha256 == f"{3:064x}"
        assert store.thumbnail("a") == entry("a", 3).thumbnail
        assert scanned(store, "points") == {
            "a": content(features("points", 3)),
            "b": content(features("points", 2)),
        }
        assert set(scanned(store, "vector")) == {"b"}
        with pytest.raises(MethodNotIndexedError):
            store.features("a", "vector")
        assert store.info().images == 2

    def test_the_last_entry_of_an_id_counts(self, store: Store) -> None:
        """Also within a single call."""
        store.put([entry("a", 1), entry("b", 2), entry("a", 3)])
        assert store.info().images == 2
        assert scanned(store, "points")["a"] == content(features("points", 3))

    def test_put_nothing(self, store: Store) -> None:
        """A call without entries changes nothing."""
        store.put([])
        assert store.info().images == 0

    def test_put_is_atomic(self, store: Store) -> None:
        """If one entry is invalid, nothing of the call is stored."""
        store.put([entry("a", 1)])
        bad = Entry(entry("c").image, {"unregistered": features("vector", 0)})
        with pytest.raises(ValueError, match="unregistered"):
            store.put([entry("a", 2), entry("b", 2), bad])
        assert store.get("a").sha256 == f"{1:064x}"
        assert store.info().images == 1

    @pytest.mark.parametrize(
        ("method", "given"),
        [
            ("vector", GlobalFeatures(np.zeros((1, 11), dtype=np.float32))),
            ("vector", features("points", 0)),
            ("points", features("vector", 0)),
            ("points", features("tokens", 0)),
            ("vector", GlobalFeatures(np.zeros((2, 12), dtype=np.float32))),
            ("vector", GlobalFeatures(np.zeros((0, 12), dtype=np.float32))),
        ],
        ids=["other length", "local for global", "global for local", "other numbers", "two images", "no image"],
    )
    def test_features_of_another_spec(self, store: Store, method: str, given: Features) -> None:
        """Features of another spec are rejected by ``put`` and ``put_features``."""
        with pytest.raises(ValueError, match=method):
            store.put([Entry(entry("a").image, {method: given})])
        store.put([entry("a", 1)])
        with pytest.raises(ValueError, match=method):
            store.put_features("a", {method: given})
        assert content(store.features("a", method)) == content(features(method, 1))

    def test_any_string_is_a_valid_id(self, store: Store) -> None:
        """Ids are compared exactly: without normalisation, case folding or conversion to numbers."""
        store.put([entry(image_id, seed, source="s") for seed, image_id in enumerate(ODD_IDS)])
        assert store.info().images == len(ODD_IDS)
        assert [record.id for record in store.images(limit=1000)] == sorted(ODD_IDS)
        assert set(store.status(ODD_IDS)) == set(ODD_IDS)
        for seed, image_id in enumerate(ODD_IDS):
            assert store.get(image_id).sha256 == f"{seed:064x}"
            assert content(store.features(image_id, "points")) == content(features("points", seed))
        assert set(scanned(store, "vector")) == set(ODD_IDS)
        assert store.delete(ODD_IDS[3:]) == len(ODD_IDS) - 3
        assert set(scanned(store, "vector")) == set(ODD_IDS[:3])

    def test_very_large_metadata(self, store: Store) -> None:
        """A megabyte of metadata is stored."""
        metadata = {"text": 'ä\\"\u2028' * 250_000}
        store.put([entry("a", metadata=metadata)])
        assert store.get("a").metadata == metadata

    @pytest.mark.parametrize(
        "image_id",
        ["", "half \ud800 pair", "x" * (MAX_ID_BYTES + 1), "é" * (MAX_ID_BYTES // 2) + "x"],
        ids=["empty", "surrogate", "too long", "too many bytes"],
    )
    def test_invalid_ids(self, store: Store, image_id: str) -> None:
        """Invalid ids are rejected by ``put`` and unknown to all other methods."""
        with pytest.raises(InputError):
            store.put([entry("a"), entry(image_id)])
        with pytest.raises(InputError):
            store.record_failures([Failure(image_id, "", "code", "message")])
        assert store.info().images == 0
        with pytest.raises(UnknownImageError):
            store.get(image_id)
        with pytest.raises(UnknownImageError):
            store.thumbnail(image_id)
        with pytest.raises(UnknownImageError):
            store.features(image_id, "points")
        with pytest.raises(UnknownImageError):
            store.put_features(image_id, {})
        assert store.status([image_id]) == {}
        assert store.delete([image_id]) == 0
        store.touch(image_id, uri="u", stamp="s")
        store.forget_failures([image_id])

    @pytest.mark.parametrize(
        "metadata",
        [{"x": float("nan")}, {"x": b"bytes"}, {"x": {1, 2}}, {"x": "half \udfff pair"}],
        ids=["nan", "bytes", "set", "surrogate"],
    )
    def test_metadata_must_be_json(self, store: Store, metadata: dict[str, Any]) -> None:
        """Metadata that JSON cannot represent are rejected with an error that names the id."""
        with pytest.raises(InputError, match="name of it"):
            store.put([entry("name of it", metadata=metadata)])
        assert store.info().images == 0

    def test_unknown_images(self, store: Store) -> None:
        """Reading unknown images raises an error that names the id; deleting them does not."""
        for read in (store.get, store.thumbnail, lambda i: store.features(i, "points")):
            with pytest.raises(UnknownImageError, match="unknown") as caught:
                read("unknown")
            assert caught.value.image_id == "unknown"
        with pytest.raises(UnknownImageError):
            store.put_features("unknown", {"points": features("points", 0)})
        store.touch("unknown", uri="u", stamp="s")
        store.forget_failures(["unknown"])
        assert store.delete(["unknown"]) == 0
        assert store.info().images == 0

    def test_records_and_thumbnails_of_many_images(self, store: Store) -> None:
        """They equal those of each image, also for more ids than a database accepts in one statement."""
        store.put([entry(image_id, seed, methods=[]) for seed, image_id in enumerate(ODD_IDS)])
        store.put([entry(f"image {number}", number, methods=[]) for number in range(1200)])
        store.put([replace(entry("bare", methods=[]), thumbnail=b"")])
        there = [*(f"image {number}" for number in range(1199, -1, -1)), *ODD_IDS, "bare"]
        ids = ["", "gone", "half \ud800 pair", "bare", *there, "image 7"]
        records, thumbnails = store.records(ids), store.thumbnails(ids)
        assert set(records) == set(thumbnails) == set(there)
        assert thumbnails["bare"] == b""
        for image_id in (*ODD_IDS, "bare", "image 0", "image 600", "image 1199"):
            assert records[image_id] == store.get(image_id)
            assert thumbnails[image_id] == store.thumbnail(image_id)
        assert not store.records([])
        assert not store.thumbnails([])
        for read in (store.records, store.thumbnails):
            with pytest.raises(TypeError):
                read("gone")

    def test_delete(self, store: Store) -> None:
        """The number of deleted images is returned; deleted images can be put again."""
        store.put([entry("a", 1), entry("b", 2), entry("c", 3)])
        assert store.delete(["a", "unknown", "c", "a"]) == 2
        assert store.delete([]) == 0
        assert set(scanned(store, "tokens")) == {"b"}
        with pytest.raises(UnknownImageError):
            store.get("a")
        store.put([entry("a", 4)])
        assert scanned(store, "tokens")["a"] == content(features("tokens", 4))

    def test_delete_requires_a_sequence(self, store: Store) -> None:
        """A single string is rejected rather than treated as a sequence of characters."""
        store.put([entry("a")])
        with pytest.raises(TypeError):
            store.delete("abc")
        assert store.info().images == 1

    def test_put_features(self, store: Store) -> None:
        """The features of the given methods are added or replaced; everything else is unchanged."""
        store.put([entry("a", 1, methods=["points", "tokens"]), entry("b", 2)])
        record = store.get("a")
        store.put_features("a", {"points": features("points", 7, 9), "vector": features("vector", 7)})
        store.put_features("a", {})
        assert store.get("a") == record
        assert store.thumbnail("a") == entry("a", 1).thumbnail
        assert content(store.features("a", "tokens")) == content(features("tokens", 1))
        assert scanned(store, "points") == {
            "a": content(features("points", 7, 9)),
            "b": content(features("points", 2)),
        }
        assert scanned(store, "vector")["a"] == content(features("vector", 7))
        assert store.info().methods["points"].images == 2

    def test_touch(self, store: Store) -> None:
        """URI and stamp are changed, and nothing else."""
        store.put([entry("a", 1)])
        record = store.get("a")
        store.touch("a", uri="file:///moved.jpg", stamp="new")
        assert store.get("a") == replace(record, uri="file:///moved.jpg", stamp="new")
        assert store.status(["a"])["a"].stamp == "new"
        assert store.thumbnail("a") == entry("a", 1).thumbnail
        assert set(scanned(store, "points")) == {"a"}
