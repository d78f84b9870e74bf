"""What every store must do; subclass ``StoreSuite`` in your own tests.

::

    class TestMyStore(StoreSuite):
        @pytest.fixture
        def make_store(self):
            return lambda location: MyStore(location)
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagefinder.core import filters
from imagefinder.core.contracts import Store
from imagefinder.core.errors import (
    FingerprintMismatchError,
    InputError,
    MethodNotIndexedError,
    SourceError,
    StoreError,
    UnknownImageError,
)
from imagefinder.core.features import Features, FeatureSpec, GlobalFeatures, LocalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, Failure, ImageRecord

try:
    from hypothesis import HealthCheck, settings
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
except ImportError as error:
    raise ImportError("imagefinder.testing.stores needs hypothesis: pip install hypothesis") from error

MakeStore = Callable[[Path], Store]
"""Opens the store at a place, a folder of its own; makes it if it is not there."""

METHODS: Mapping[str, FeatureSpec] = {
    "points": FeatureSpec("local", 8, "uint8"),
    "tokens": FeatureSpec("local", 6, "float32"),
    "int8 tokens": FeatureSpec("local", 6, "int8"),
    "vector": FeatureSpec("global", 12, "float32"),
}
"""The methods of the tests: each form of features once."""

ODD_IDS = (
    "a",
    "Z",
    "10",
    "9",
    "ä",
    "a\u0308",
    "sub folder/picture (1).jpg",
    "..",
    "%2F",
    "a'b\"c;--",
    "line\nbreak",
    "nul\0inside",
    "nul\0other",
    "\U0001f600",
    "\uffff",
    "日本",
    " ",
    "x" * 5000,
)
"""Ids that have broken stores."""


def fingerprint(method: str, **parameters: Any) -> Fingerprint:
    """Of a method of the tests."""
    return Fingerprint(method, 1, {"size": 7, **parameters})


def features(method: str, seed: int, count: int = 5) -> Features:
    """Seeded features of one image; local ones have ``count`` descriptors."""
    spec = METHODS[method]
    generator = np.random.default_rng(seed)
    if spec.kind == "global":
        return GlobalFeatures(generator.normal(size=(1, spec.dim)).astype(np.float32))
    descriptors = (
        generator.integers(0, 256, size=(count, spec.dim), dtype=np.uint8).view(spec.dtype)
        if spec.dtype != "float32"
        else generator.normal(size=(count, spec.dim)).astype(np.float32)
    )
    keypoints = generator.uniform(-1, 999, size=(count, 4)).astype(np.float32)
    return LocalFeatures(descriptors, keypoints, np.array([0, count], dtype=np.int64))


def entry(image_id: str, seed: int = 0, methods: Sequence[str] = tuple(METHODS), **values: Any) -> Entry:
    """An image with seeded features; ``values`` are those of its record."""
    record = ImageRecord(
        id=image_id,
        uri=f"file:///pictures/{seed}.jpg",
        sha256=f"{seed:064x}",
        size_bytes=1000 + seed,
        width=640,
        height=480,
        format="JPEG",
        stamp=f"1000:{seed}",
    )
    return Entry(
        replace(record, **values), {name: features(name, seed) for name in methods}, b"\xff\xd8 %d" % seed
    )


def content(batch: Features) -> tuple[Any, ...]:
    """Form, and every bit, of features: equal exactly when they are."""
    if isinstance(batch, GlobalFeatures):
        return "global", batch.vectors.shape, batch.vectors.tobytes()
    arrays = (batch.descriptors, batch.keypoints, batch.offsets)
    return "local", *((array.dtype.str, array.shape, array.tobytes()) for array in arrays)


def scanned(store: Store, method: str) -> dict[str, tuple[Any, ...]]:
    """Id -> content of all images of a scan, each of which must come once."""
    found: dict[str, tuple[Any, ...]] = {}
    for block in store.scan(method):
        assert len(block.ids) == len(block.features)
        assert block.features.spec() == METHODS[method]
        for index, image_id in enumerate(block.ids):
            assert image_id not in found
            found[image_id] = content(block.features.image(index))
    return found


def register(store: Store) -> None:
    """Announce all methods of the tests."""
    for name, spec in METHODS.items():
        store.register(fingerprint(name), spec)


class StoreSuite:
    """Give ``make_store`` as a fixture and every test below runs on your store."""

    persistent = True
    """Whether what was put is there for another object (thread, process) that opens the same place."""

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Opens the store at a place."""
        raise NotImplementedError("give a fixture named make_store")

    @pytest.fixture
    def store(self, make_store: MakeStore, tmp_path: Path) -> Iterator[Store]:
        """A new store with the methods of the tests."""
        store = make_store(tmp_path / "store")
        register(store)
        yield store
        store.close()

    @pytest.fixture
    def other(self, store: Store, make_store: MakeStore, tmp_path: Path) -> Iterator[Store]:  # noqa: ARG002 - first
        """The same store, opened again, while ``store`` is open."""
        if not self.persistent:
            pytest.skip("this store is not shared")
        other = make_store(tmp_path / "store")
        yield other
        other.close()

    # -- put, get ------------------------------------------------------------------------------------------

    def test_what_was_put_comes_back(self, store: Store) -> None:
        """Record, thumbnail and features, bit for bit."""
        given = entry(
            "a", 3, source="file:///pictures", metadata={"title": "Ä 😀", "n": [1, 2.5, None, {"x": True}]}
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

    def test_time_is_the_stores(self, store: Store) -> None:
        """``added_at`` of the record that is put does not count."""
        store.put([entry("a", added_at=5.0)])
        assert store.get("a").added_at > 1e9

    def test_special_numbers_come_back(self, store: Store) -> None:
        """NaN with its payload, infinities, minus zero and the smallest numbers keep their bits."""
        bits = np.array([0x7FC12345, 0xFF800001, 0x7F800000, 0xFF800000, 0x80000000, 1, 0x7F7FFFFF, 0, 2, 3, 4, 5])
        vectors = bits.astype(np.uint32).view(np.float32).reshape(1, 12)
        store.put([Entry(entry("a").image, {"vector": GlobalFeatures(vectors)})])
        assert content(store.features("a", "vector"))[2] == vectors.tobytes()

    def test_parts_of_larger_arrays(self, store: Store) -> None:
        """Views into a batch, and arrays that lie differently in memory, are stored as what they show."""
        whole = np.arange(24, dtype=np.uint8).reshape(8, 3).T
        local = LocalFeatures(whole, np.zeros((3, 4), dtype=np.float32), np.array([0, 3], dtype=np.int64))
        batch = GlobalFeatures(np.arange(36, dtype=np.float32).reshape(3, 12))
        store.put([Entry(entry("a").image, {"points": local, "vector": batch.image(1)})])
        assert content(store.features("a", "points"))[1] == (whole.dtype.str, (3, 8), whole.tobytes())
        assert content(store.features("a", "vector")) == content(batch.image(1))

    def test_later_changes_of_arguments_do_not_count(self, store: Store) -> None:
        """What was put is the store's own."""
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
        """A blank page is an image like others."""
        store.put([entry("full", 1), replace(entry("blank"), features={"points": features("points", 0, 0)})])
        store.put([replace(entry("empty"), features={"points": features("points", 0, 0)}), entry("last", 2)])
        assert content(store.features("blank", "points"))[1] == ("|u1", (0, 8), b"")
        assert set(scanned(store, "points")) == {"full", "blank", "empty", "last"}
        assert scanned(store, "points")["blank"] == content(features("points", 0, 0))
        assert store.info().methods["points"].images == 4

    def test_an_image_without_features(self, store: Store) -> None:
        """It is there, and no scan sees it."""
        store.put([Entry(entry("a").image, {})])
        assert store.get("a").id == "a"
        assert store.thumbnail("a") == b""
        assert store.status(["a"])["a"].methods == frozenset()
        assert scanned(store, "points") == {}

    def test_put_replaces_the_whole_image(self, store: Store) -> None:
        """Record, thumbnail and all features; those of methods not brought are gone."""
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

    def test_the_last_of_one_id_counts(self, store: Store) -> None:
        """Also within one call."""
        store.put([entry("a", 1), entry("b", 2), entry("a", 3)])
        assert store.info().images == 2
        assert scanned(store, "points")["a"] == content(features("points", 3))

    def test_put_nothing(self, store: Store) -> None:
        """No entries, no change."""
        store.put([])
        assert store.info().images == 0

    def test_put_is_all_or_nothing(self, store: Store) -> None:
        """A bad entry leaves the good ones of its call out, and what was there alone."""
        store.put([entry("a", 1)])
        bad = Entry(entry("c").image, {"unheard of": features("vector", 0)})
        with pytest.raises(ValueError, match="unheard of"):
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
    def test_features_of_another_form(self, store: Store, method: str, given: Features) -> None:
        """Are refused, by both ways in."""
        with pytest.raises(ValueError, match=method):
            store.put([Entry(entry("a").image, {method: given})])
        store.put([entry("a", 1)])
        with pytest.raises(ValueError, match=method):
            store.put_features("a", {method: given})
        assert content(store.features("a", method)) == content(features(method, 1))

    # -- ids and metadata ----------------------------------------------------------------------------------

    def test_any_text_is_an_id(self, store: Store) -> None:
        """Each stands for itself alone: no normalisation, no case folding, no numbers."""
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

    def test_very_large_records(self, store: Store) -> None:
        """An id of 100 000 letters and a megabyte of metadata."""
        image_id, metadata = "é" * 100_000, {"text": 'ä\\"\u2028' * 250_000}
        store.put([entry(image_id, metadata=metadata)])
        assert store.get(image_id).metadata == metadata
        assert set(scanned(store, "points")) == {image_id}

    @pytest.mark.parametrize("image_id", ["", "half \ud800 pair"])
    def test_unusable_ids(self, store: Store, image_id: str) -> None:
        """Are refused when put, and unknown when asked for."""
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
        """What JSON cannot say is refused, and the id is named."""
        with pytest.raises(InputError, match="name of it"):
            store.put([entry("name of it", metadata=metadata)])
        assert store.info().images == 0

    # -- unknown images ------------------------------------------------------------------------------------

    def test_unknown_images(self, store: Store) -> None:
        """Questions about them are errors that name them; telling the store to forget them is none."""
        for ask in (store.get, store.thumbnail, lambda i: store.features(i, "points")):
            with pytest.raises(UnknownImageError, match="nobody") as caught:
                ask("nobody")
            assert caught.value.image_id == "nobody"
        with pytest.raises(UnknownImageError):
            store.put_features("nobody", {"points": features("points", 0)})
        store.touch("nobody", uri="u", stamp="s")
        store.forget_failures(["nobody"])
        assert store.delete(["nobody"]) == 0
        assert store.info().images == 0

    def test_delete(self, store: Store) -> None:
        """Counts what was there, once; deleted images can come again."""
        store.put([entry("a", 1), entry("b", 2), entry("c", 3)])
        assert store.delete(["a", "nobody", "c", "a"]) == 2
        assert store.delete([]) == 0
        assert set(scanned(store, "tokens")) == {"b"}
        with pytest.raises(UnknownImageError):
            store.get("a")
        store.put([entry("a", 4)])
        assert scanned(store, "tokens")["a"] == content(features("tokens", 4))

    def test_delete_wants_a_sequence(self, store: Store) -> None:
        """A single text is not taken for the ids ``a``, ``b`` and ``c``."""
        store.put([entry("a")])
        with pytest.raises(TypeError):
            store.delete("abc")
        assert store.info().images == 1

    # -- methods -------------------------------------------------------------------------------------------

    def test_register_again(self, store: Store) -> None:
        """Changes nothing, also after a trip of the fingerprint through its text."""
        store.put([entry("a", 1)])
        register(store)
        store.register(Fingerprint.from_json(fingerprint("points").to_json()), METHODS["points"])
        assert scanned(store, "points") == {"a": content(features("points", 1))}

    def test_register_otherwise(self, store: Store) -> None:
        """Is refused with both values while there are features, and changes nothing."""
        store.put([entry("a", 1)])
        with pytest.raises(FingerprintMismatchError, match=r"7.*8"):
            store.register(replace(fingerprint("points"), parameters={"size": 8}), METHODS["points"])
        with pytest.raises(FingerprintMismatchError, match=r"1.*2"):
            store.register(replace(fingerprint("points"), version=2), METHODS["points"])
        with pytest.raises(FingerprintMismatchError, match=r"8.*9"):
            store.register(fingerprint("points"), FeatureSpec("local", 9, "uint8"))
        held = store.info().methods["points"]
        assert (held.fingerprint, held.spec) == (fingerprint("points"), METHODS["points"])
        store.put([entry("b", 2)])
        assert set(scanned(store, "points")) == {"a", "b"}

    def test_register_otherwise_without_features(self, store: Store) -> None:
        """A method that was only announced can be announced otherwise."""
        store.put([entry("a", 1)])
        store.delete(["a"])
        now = FeatureSpec("global", 3, "float32")
        store.register(fingerprint("points", more=1), now)
        store.put([Entry(entry("a").image, {"points": GlobalFeatures(np.ones((1, 3), dtype=np.float32))})])
        held = store.info().methods["points"]
        assert (held.fingerprint, held.spec, held.images) == (fingerprint("points", more=1), now, 1)

    def test_unregister(self, store: Store) -> None:
        """Takes the features with it; images stay, and the method can come again, made otherwise."""
        store.put([entry("a", 1), entry("b", 2)])
        assert len(scanned(store, "points")) == 2
        store.unregister("points")
        store.unregister("unheard of")
        rest = set(METHODS) - {"points"}
        assert set(store.info().methods) == rest
        assert store.status(["a"])["a"].methods == rest
        with pytest.raises(MethodNotIndexedError):
            list(store.scan("points"))
        with pytest.raises(MethodNotIndexedError):
            store.features("a", "points")
        with pytest.raises(ValueError, match="points"):
            store.put([entry("c", 3)])
        store.register(fingerprint("points", size=9), METHODS["points"])
        assert scanned(store, "points") == {}
        store.put_features("b", {"points": features("points", 5)})
        assert scanned(store, "points") == {"b": content(features("points", 5))}

    def test_scan_of_an_unknown_method(self, store: Store) -> None:
        """Names it and those that are there."""
        with pytest.raises(MethodNotIndexedError, match="unheard of") as caught:
            list(store.scan("unheard of"))
        assert caught.value.indexed == tuple(sorted(METHODS))

    def test_scan_of_nothing(self, store: Store) -> None:
        """A method without images gives no images."""
        assert scanned(store, "points") == {}

    # -- changing parts ------------------------------------------------------------------------------------

    def test_put_features(self, store: Store) -> None:
        """Adds or replaces the methods it brings and leaves all else alone."""
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
        """Changes address and stamp and nothing else."""
        store.put([entry("a", 1)])
        record = store.get("a")
        store.touch("a", uri="file:///moved.jpg", stamp="new")
        assert store.get("a") == replace(record, uri="file:///moved.jpg", stamp="new")
        assert store.status(["a"])["a"].stamp == "new"
        assert store.thumbnail("a") == entry("a", 1).thumbnail
        assert set(scanned(store, "points")) == {"a"}

    # -- lists ---------------------------------------------------------------------------------------------

    def test_status(self, store: Store) -> None:
        """Of what is there; also of more ids than a database takes at once."""
        store.put([entry("a", 1, methods=["points"]), entry("b", 2)])
        many = [f"nobody {number}" for number in range(40_000)]
        found = store.status(["b", *many, "a", "b"])
        assert set(found) == {"a", "b"}
        assert found["a"].methods == {"points"}
        assert found["b"].methods == set(METHODS)
        assert (found["a"].sha256, found["a"].stamp) == (f"{1:064x}", "1000:1")
        assert found["a"].uri == "file:///pictures/1.jpg"
        assert store.status([]) == {}

    def test_pages(self, store: Store) -> None:
        """Follow one another in order of code points without gap or overlap."""
        ids = [*ODD_IDS, *(f"image {number}" for number in range(30))]
        store.put([entry(image_id, seed, methods=[]) for seed, image_id in enumerate(ids)])
        for size in (1, 7, 100):
            pages: list[str] = []
            while page := store.images(after=pages[-1] if pages else "", limit=size):
                assert len(page) <= size
                pages += [record.id for record in page]
            assert pages == sorted(ids)
        assert store.images(limit=0) == []
        assert [record.id for record in store.images(after="image 5", limit=2)] == ["image 6", "image 7"]
        assert store.images(after="\U0010ffff") == []

    def test_pages_of_what_matches(self, store: Store) -> None:
        """Hold exactly what the filter says, page by page, whatever the store itself knows of JSON."""
        values: list[Any] = [
            *(0, 1, 1.0, -1.5, 2**53 + 1, 2**63, 2**70, 1e300, True, False, None, "", "1", "a", "A", "b\0c", "ä"),
            *([], ["a", 1], [[1]], {}, {"n": 1}, {"n": {"n": "a"}}, {"a": 1, "n": "b"}),
        ]
        for seed, value in enumerate(values):
            store.put([entry(f"{seed:02}", seed, methods=[], metadata={"n": value, 'k"\\.[0]': value})])
        store.put([entry("99", 99, methods=[], metadata={})])
        deep: dict[str, Any] = {}
        for _ in range(400):
            deep = {"n": [deep]}
        store.put([entry("98", 98, methods=[], metadata=deep)])
        all_records = store.images(limit=1000)
        operands: list[Any] = [*values, 2**53, -(2**63), 1e-300]
        conditions: list[Any] = [{"n": {"eq": operand}} for operand in operands]
        for sign in ("gt", "gte", "lt", "lte"):
            numbers = [v for v in operands if isinstance(v, int | float | str) and not isinstance(v, bool)]
            conditions += [{"n": {sign: operand}} for operand in numbers]
        conditions += [{"n": {"in": operands[first : first + 3]}} for first in range(len(operands))]
        conditions += [{"n": {"in": []}}, {"n": {"contains": "A"}}, {"n.n": 1}, {"n.n.n": "a"}]
        conditions += [{key: {"exists": there}} for key in ("n", "n.n", "m") for there in (True, False)]
        conditions += [{r'k"\\\.[0]': 1}, {"not": {"n": 1}}, {"any": [{"n": 1}, {"n": "a"}]}, {}]
        conditions += [{"all": [{"n": {"gte": 0}}, {"not": {"n": {"gt": 1}}}]}, {"n": "a", "not": {"n": "a"}}]
        for condition in conditions:
            where = filters.parse(condition)
            expected = [record.id for record in all_records if where.matches(record.metadata)]
            found: list[str] = []
            while page := store.images(after=found[-1] if found else "", limit=5, where=where):
                found += [record.id for record in page]
            assert found == expected, condition
        assert store.images(where=filters.parse({}), limit=0) == []

    def test_pages_of_what_contains_a_text(self, store: Store) -> None:
        """In the id or in a text of the metadata, capital letters or not; together with other conditions."""
        store.put(
            [
                entry("Cat.jpg", 1, methods=[], source="s"),
                entry("dog.jpg", 2, methods=[], metadata={"tags": ["near a CAT"]}),
                entry("Größe", 3, methods=[], metadata={"n": {"text": "100 %"}}, source="s"),
                entry("cat", 4, methods=[], metadata={"cat": "key only"}),
            ]
        )

        def found(contains: str, **rest: Any) -> list[str]:
            return [record.id for record in store.images(contains=contains, **rest)]

        assert found("cat") == ["Cat.jpg", "cat", "dog.jpg"]
        assert found("GRÖSSE") == ["Größe"]
        assert found("%") == ["Größe"]
        assert found("_") == []
        assert found("cat", source="s") == ["Cat.jpg"]
        assert found("cat", after="Cat.jpg", limit=1) == ["cat"]
        assert found("cat", where=filters.parse({"tags": {"exists": True}})) == ["dog.jpg"]

    def test_pages_of_a_source(self, store: Store) -> None:
        """Hold only what came through it."""
        store.put([entry(f"{number}", number, source=f"s{number % 2}") for number in range(10)])
        assert [record.id for record in store.images(source="s1", limit=3)] == ["1", "3", "5"]
        assert [record.id for record in store.images(source="s1", after="5")] == ["7", "9"]
        assert store.images(source="s") == []
        assert store.images(source="") == []

    def test_scan_in_blocks(self, store: Store) -> None:
        """Many images come in whole, each once, before and after changes all over them."""
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
        """Features of some images in the order asked for, each once; what is not there is left out."""
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
            store.select("unheard of", ["7"])

    def test_changes_since_a_state(self, store: Store) -> None:
        """Keys come in order and never again; nothing is told where nothing happened."""
        assert store.changes("unheard of", revision=-1, last=0, count=0) is None
        store.put([entry(f"{number}", number) for number in range(5)])
        first = store.changes("points", revision=-1, last=0, count=0)
        assert first is not None
        assert (np.diff(first.new) > 0).all()
        assert first.alive is None
        assert first.sizes.tolist() == [5 * (8 + 16)] * 5
        last = int(first.new[-1])
        assert store.changes("points", revision=first.revision, last=last, count=5) is None
        store.put([entry("new", 9), entry("2", 77)])
        second = store.changes("points", revision=first.revision, last=last, count=5)
        assert second is not None
        assert len(second.new) == 2
        assert (second.new > last).all()
        assert second.alive is not None
        assert set(second.alive.tolist()) == set(first.new.tolist()) - {int(first.new[2])} | set(
            second.new.tolist()
        )
        keys, block = store.load("points", np.sort(np.concatenate([first.new, second.new])))
        assert keys.tolist() == second.alive.tolist()
        assert dict(zip(block.ids, (content(block.features.image(n)) for n in range(6)), strict=True)) == scanned(
            store, "points"
        )
        store.unregister("points")
        third = store.changes("points", revision=second.revision, last=int(keys[-1]), count=6)
        assert third is not None
        assert third.alive is not None
        assert len(third.alive) == len(third.new) == 0
        register(store)
        store.put([entry(f"{number}", number + 50) for number in range(6)])
        again = store.changes("points", revision=-1, last=0, count=0)
        assert again is not None
        assert not set(again.new.tolist()) & set(keys.tolist())

    def test_checksums_tell_features_and_owners_apart(self, store: Store) -> None:
        """The same features of the same image have the same one, in another store, too."""
        store.put([entry("a", 1), entry("b", 1), entry("c", 2)])
        changes = store.changes("points", revision=-1, last=0, count=0)
        assert changes is not None
        found = store.checksums("points", changes.new)
        assert sorted(found) == changes.new.tolist()
        assert len(set(found.values())) == 3
        store.put([entry("a", 1)])
        later = store.changes("points", revision=-1, last=0, count=0)
        assert later is not None
        again = store.checksums("points", np.sort(np.concatenate([changes.new, later.new])))
        assert sorted(again) == later.new.tolist()
        assert again[int(later.new[-1])] == found[int(changes.new[0])]

    def test_blocks_are_of_bounded_size(self, store: Store) -> None:
        """A hundred megabytes do not come in one piece."""
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
        """Do not disturb it: what is seen is whole."""
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

    # -- failures ------------------------------------------------------------------------------------------

    def test_failures(self, store: Store) -> None:
        """Are counted by id, ordered by id, and forgotten on request or when the image is put."""
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
        store.forget_failures(["a", "nobody"])
        assert store.failures() == []
        store.record_failures([Failure("b", "", "bad", "again")])
        assert store.failures()[0].attempts == 1
        assert store.get("b").id == "b"
        store.record_failures([])

    def test_a_failure_message_may_hold_anything(self, store: Store) -> None:
        """Also the undecodable name of a file."""
        store.record_failures([Failure("a", "", "bad", "no such file: caf\udce9.jpg")])
        assert store.failures()[0].message.startswith("no such file: caf")

    # -- info, close ---------------------------------------------------------------------------------------

    def test_info(self, store: Store) -> None:
        """Counts images and the bytes of features by method, through every kind of change."""
        store.put([entry("a", 1), entry("b", 2, methods=["points"])])
        store.put([entry("a", 3)])
        store.put_features("b", {"vector": features("vector", 4), "points": features("points", 4, 7)})
        store.put([entry("c", 5)])
        store.delete(["c"])
        info = store.info()
        assert info.images == 2
        assert {name: (held.images, held.bytes) for name, held in info.methods.items()} == {
            "points": (2, (5 + 7) * (8 + 16)),
            "tokens": (1, 5 * (24 + 16)),
            "int8 tokens": (1, 5 * (6 + 16)),
            "vector": (2, 2 * 48),
        }
        for name, held in info.methods.items():
            assert (held.fingerprint, held.spec) == (fingerprint(name), METHODS[name])
        assert info.location
        assert (info.bytes_on_disk > 0) == self.persistent

    def test_derived_data(self, store: Store) -> None:
        """Kept under plain words, replaced, and no image."""
        assert store.derived("learned.json") is None
        store.put_derived("learned.json", b"one")
        store.put_derived("learned.json", b"another")
        store.put_derived("empty", b"")
        assert store.derived("learned.json") == b"another"
        assert store.derived("empty") == b""
        assert store.info().images == 0
        for name in ("", "..", "../x", "a/b", "a\\b", "A", ".hidden", "a\0b", "x" * 101):
            with pytest.raises(ValueError, match="plain word"):
                store.put_derived(name, b"")
            with pytest.raises(ValueError, match="plain word"):
                store.derived(name)

    # -- check, backup -------------------------------------------------------------------------------------

    def test_a_sound_store(self, store: Store) -> None:
        """Nothing is found where nothing is wrong, and nothing is mended."""
        store.put([entry(image_id, seed) for seed, image_id in enumerate(ODD_IDS)])
        store.put([entry("bare", methods=())])
        before = {method: scanned(store, method) for method in METHODS}
        assert store.check() == []
        assert store.check(repair=True) == []
        assert {method: scanned(store, method) for method in METHODS} == before

    def test_damage_told_from_outside(self, store: Store) -> None:
        """Thumbnails and derived data that are of no use are found, and dropped when asked."""
        store.put([entry("a", 1), entry("b", 2)])
        store.put_derived("known.json", b"good")
        store.put_derived("other.json", b"bad")

        def check(*, repair: bool) -> list[tuple[str, str, bool]]:
            found = store.check(
                repair=repair,
                sound_thumbnail=lambda data: data != entry("b", 2).thumbnail,
                sound_derived=lambda name, data: name != "other.json" and data == b"good",
            )
            return sorted((damage.kind, damage.image_id, bool(damage.mended)) for damage in found)

        assert check(repair=False) == [("derived", "", False), ("thumbnail", "b", False)]
        assert check(repair=True) == [("derived", "", True), ("thumbnail", "b", True)]
        assert check(repair=False) == []
        assert (store.thumbnail("a"), store.thumbnail("b")) == (entry("a", 1).thumbnail, b"")
        assert (store.derived("known.json"), store.derived("other.json")) == (b"good", None)

    def test_a_backup_is_a_store_like_any_other(self, store: Store, make_store: MakeStore, tmp_path: Path) -> None:
        """With everything that was there at that moment; where something is already, nothing is written."""
        if not self.persistent:
            with pytest.raises(StoreError):
                store.backup(tmp_path / "copy")
            return
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
            with pytest.raises(SourceError, match="there already"):
                store.backup(tmp_path / "deep" / "copy")
            assert len(copy.images()) == 2
        finally:
            copy.close()
        assert [path.name for path in (tmp_path / "deep").iterdir()] == ["copy"]

    def test_close_twice(self, store: Store) -> None:
        """Does nothing the second time."""
        store.put([entry("a")])
        store.close()
        store.close()

    # -- others at the same time ---------------------------------------------------------------------------

    def test_another_sees_every_change(self, store: Store, other: Store) -> None:
        """Without reopening, between scans: put, replace, delete, features, touch, failures, methods."""
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
        store.put_derived("learned.json", b"data")
        assert other.derived("learned.json") == b"data"
        other.put([entry("c", 5, methods=["vector"])])
        assert set(scanned(store, "vector")) == {"b", "c"}

    def test_what_was_put_is_there_after_reopening(
        self, store: Store, make_store: MakeStore, tmp_path: Path
    ) -> None:
        """All of it."""
        if not self.persistent:
            pytest.skip("this store ends with its object")
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

    def test_features_of_two_makes_are_never_mixed(self, store: Store, other: Store) -> None:
        """Whoever announced a method cannot put features once it has been announced differently."""
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
        """Writers and readers at once: no error, no half image, no lost one."""
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

    # -- anything in any order -----------------------------------------------------------------------------

    def test_behaves_like_a_dictionary(self, make_store: MakeStore) -> None:
        """Random sequences of calls leave the same behind as in a plain dictionary."""
        persistent = self.persistent

        class Machine(_StoreMachine):
            def __init__(self) -> None:
                super().__init__(make_store, persistent=persistent)

        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=15,
                stateful_step_count=20,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


@dataclass(slots=True)
class _Model:
    """A store in its plainest form."""

    images: dict[str, Entry] = field(default_factory=dict)
    methods: dict[str, Fingerprint] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)


_some_id = st.sampled_from(["a", "b", "c", "A", "ä", "d/e", "\U0001f600", "nul\0"])
_some_methods = st.lists(st.sampled_from(sorted(METHODS)), unique=True)
_some_seed = st.integers(0, 99)


class _StoreMachine(RuleBasedStateMachine):
    def __init__(self, make_store: MakeStore, *, persistent: bool) -> None:
        super().__init__()
        self.make_store = make_store
        self.persistent = persistent
        self.folder = Path(tempfile.mkdtemp())
        self.store = make_store(self.folder / "store")
        self.model = _Model()

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @rule(method=st.sampled_from(sorted(METHODS)), size=st.integers(7, 8))
    def register(self, method: str, size: int) -> None:
        made = fingerprint(method, size=size)
        held = any(method in kept.features for kept in self.model.images.values())
        if held and self.model.methods[method] != made:
            with pytest.raises(FingerprintMismatchError):
                self.store.register(made, METHODS[method])
        else:
            self.store.register(made, METHODS[method])
            self.model.methods[method] = made

    @rule(method=st.sampled_from(sorted(METHODS)))
    def unregister(self, method: str) -> None:
        self.store.unregister(method)
        self.model.methods.pop(method, None)
        for image_id, kept in self.model.images.items():
            rest = {name: batch for name, batch in kept.features.items() if name != method}
            self.model.images[image_id] = replace(kept, features=rest)

    @rule(ids=st.lists(_some_id, max_size=4), methods=_some_methods, seed=_some_seed)
    def put(self, ids: list[str], methods: list[str], seed: int) -> None:
        known = [method for method in methods if method in self.model.methods]
        given = [
            entry(image_id, seed + place, known, metadata={"seed": seed}, source="even" if seed % 2 else "")
            for place, image_id in enumerate(ids)
        ]
        if known != methods and ids:
            wrong = [replace(given[0], features={name: features(name, seed) for name in methods})]
            with pytest.raises(ValueError, match="not registered"):
                self.store.put([*given, *wrong])
        self.store.put(given)
        for kept in given:
            self.model.images[kept.image.id] = kept
            self.model.failures.pop(kept.image.id, None)

    @rule(image_id=_some_id, methods=_some_methods, seed=_some_seed, count=st.integers(0, 3))
    def put_features(self, image_id: str, methods: list[str], seed: int, count: int) -> None:
        given = {name: features(name, seed, count) for name in methods if name in self.model.methods}
        kept = self.model.images.get(image_id)
        if kept is None:
            with pytest.raises(UnknownImageError):
                self.store.put_features(image_id, given)
        else:
            self.store.put_features(image_id, given)
            self.model.images[image_id] = replace(kept, features={**kept.features, **given})

    @rule(image_id=_some_id, uri=st.sampled_from(["", "file:///x"]))
    def touch(self, image_id: str, uri: str) -> None:
        self.store.touch(image_id, uri=uri, stamp="touched")
        kept = self.model.images.get(image_id)
        if kept:
            self.model.images[image_id] = replace(kept, image=replace(kept.image, uri=uri, stamp="touched"))

    @rule(ids=st.lists(_some_id, max_size=3))
    def delete(self, ids: list[str]) -> None:
        there = set(ids) & set(self.model.images)
        assert self.store.delete(ids) == len(there)
        for image_id in there:
            del self.model.images[image_id]

    @rule(ids=st.lists(_some_id, max_size=3))
    def record_failures(self, ids: list[str]) -> None:
        self.store.record_failures([Failure(image_id, "uri", "bad", "message") for image_id in ids])
        for image_id in ids:
            self.model.failures[image_id] = self.model.failures.get(image_id, 0) + 1

    @rule(ids=st.lists(_some_id, max_size=3))
    def forget_failures(self, ids: list[str]) -> None:
        self.store.forget_failures(ids)
        for image_id in ids:
            self.model.failures.pop(image_id, None)

    @rule()
    def reopen(self) -> None:
        if self.persistent:
            self.store.close()
            self.store = self.make_store(self.folder / "store")

    @invariant()
    def methods_are_the_same(self) -> None:
        info = self.store.info()
        assert {name: held.fingerprint for name, held in info.methods.items()} == self.model.methods
        for method, held in info.methods.items():
            expected = {
                image_id: content(kept.features[method])
                for image_id, kept in self.model.images.items()
                if method in kept.features
            }
            assert scanned(self.store, method) == expected
            assert held.images == len(expected)

    @invariant()
    def images_are_the_same(self) -> None:
        images = self.model.images
        assert self.store.info().images == len(images)
        records = self.store.images()
        assert [replace(record, added_at=0.0) for record in records] == [images[i].image for i in sorted(images)]
        assert json.dumps([record.id for record in self.store.images(source="even")]) == json.dumps(
            [i for i in sorted(images) if images[i].image.source == "even"]
        )
        status = self.store.status(list(images))
        assert {i: there.methods for i, there in status.items()} == {i: set(e.features) for i, e in images.items()}
        for image_id, kept in images.items():
            assert self.store.thumbnail(image_id) == kept.thumbnail
            for method, batch in kept.features.items():
                assert content(self.store.features(image_id, method)) == content(batch)

    @invariant()
    def failures_are_the_same(self) -> None:
        assert {failure.id: failure.attempts for failure in self.store.failures()} == self.model.failures
