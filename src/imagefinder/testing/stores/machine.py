"""Stateful test: random sequences of calls, compared with a dictionary."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from imagefinder.core.errors import (
    FingerprintMismatchError,
    UnknownImageError,
)
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, Failure
from imagefinder.testing.stores.samples import (
    METHODS,
    MakeStore,
    content,
    entry,
    features,
    fingerprint,
    scanned,
)

try:
    from hypothesis import HealthCheck, settings
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
except ImportError as error:
    raise ImportError("imagefinder.testing.stores requires hypothesis: pip install hypothesis") from error


def compare_with_a_dictionary(make_store: MakeStore, *, persistent: bool) -> None:
    """Run random sequences of calls on new stores, and compare the effects with those on a dictionary."""

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
    """The reference model: a store as plain dictionaries."""

    images: dict[str, Entry] = field(default_factory=dict)
    methods: dict[str, Fingerprint] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    removals: set[tuple[str, str]] = field(default_factory=set)


_some_id = st.sampled_from(["a", "b", "c", "A", "ä", "d/e", "\U0001f600", "nul\0"])
_some_methods = st.lists(st.sampled_from(sorted(METHODS)), unique=True)
_some_seed = st.integers(0, 99)


class _StoreMachine(RuleBasedStateMachine):
    """Calls a store and its model, and compares them after every step."""

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
        stored = any(method in kept.features for kept in self.model.images.values())
        if stored and self.model.methods[method] != made:
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
        registered = [method for method in methods if method in self.model.methods]
        given = [
            entry(image_id, seed + place, registered, metadata={"seed": seed}, source="even" if seed % 2 else "")
            for place, image_id in enumerate(ids)
        ]
        if registered != methods and ids:
            wrong = [replace(given[0], features={name: features(name, seed) for name in methods})]
            with pytest.raises(ValueError, match="not registered"):
                self.store.put([*given, *wrong])
        self.store.put(given)
        for kept in given:
            self.model.images[kept.image.id] = kept
            self.model.failures.pop(kept.image.id, None)
            self._clear_removals(kept)

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

    @rule(ids=st.lists(_some_id, max_size=3), remember=st.booleans())
    def delete(self, ids: list[str], remember: bool) -> None:
        existing = set(ids) & set(self.model.images)
        assert self.store.delete(ids, remember=remember) == len(existing)
        for image_id in existing:
            uri = self.model.images.pop(image_id).image.uri
            if remember and uri:
                self.model.removals.add((image_id, uri))

    @rule(old=_some_id, new=_some_id, seed=_some_seed)
    def move(self, old: str, new: str, seed: int) -> None:
        moved = entry(new, seed, [])
        self.store.put([moved], replacing=[old])
        self.model.images.pop(old, None)
        self.model.images[new] = moved
        self.model.failures.pop(new, None)
        self._clear_removals(moved)

    @rule(ids=st.lists(_some_id, max_size=3))
    def forget_removals(self, ids: list[str]) -> None:
        assert self.store.forget_removals(ids) == self._forget_removals(ids)

    def _clear_removals(self, put: Entry) -> None:
        image = put.image
        self.model.removals = {
            (i, uri) for i, uri in self.model.removals if i != image.id or (uri != image.uri and image.source)
        }

    def _forget_removals(self, ids: list[str]) -> int:
        found = {key for key in self.model.removals if key[0] in ids}
        self.model.removals -= found
        return len(found)

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
        assert {name: stored.fingerprint for name, stored in info.methods.items()} == self.model.methods
        for method, stored in info.methods.items():
            expected = {
                image_id: content(kept.features[method])
                for image_id, kept in self.model.images.items()
                if method in kept.features
            }
            assert scanned(self.store, method) == expected
            assert stored.images == len(expected)

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
        assert {i: stored.methods for i, stored in status.items()} == {
            i: set(e.features) for i, e in images.items()
        }
        for image_id, kept in images.items():
            assert self.store.thumbnail(image_id) == kept.thumbnail
            for method, batch in kept.features.items():
                assert content(self.store.features(image_id, method)) == content(batch)

    @invariant()
    def removals_are_the_same(self) -> None:
        expected = sorted(self.model.removals)
        assert [(removal.id, removal.uri) for removal in self.store.removals()] == expected

    @invariant()
    def failures_are_the_same(self) -> None:
        assert {failure.id: failure.attempts for failure in self.store.failures()} == self.model.failures
