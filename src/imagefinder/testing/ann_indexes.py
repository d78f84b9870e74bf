"""Tests for the contract of ANN indexes; subclass ``AnnIndexSuite`` in your own tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from imagefinder.core import filters
from imagefinder.core.contracts import AnnIndex, Store
from imagefinder.core.features import Features, FeatureSpec, GlobalFeatures, LocalFeatures, concatenate
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, ImageRecord

try:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError("imagefinder.testing.ann_indexes requires hypothesis: pip install hypothesis") from error

METHOD = "made"

MakeStore = Callable[[], Store]
MakeIndex = Callable[[Store, str, FeatureSpec], AnnIndex]


def features(spec: FeatureSpec, seed: int, rows: int = 24) -> Features:
    """Seeded features of one image; images of different seeds have nothing in common."""
    rng = np.random.default_rng((3, seed))
    if spec.kind == "global":
        return GlobalFeatures(rng.standard_normal((1, spec.dim), dtype=np.float32))
    if spec.dtype != "float32":
        descriptors = rng.integers(0, 256, (rows, spec.dim), dtype=np.uint8).view(spec.dtype)
        return LocalFeatures(descriptors, np.zeros((rows, 4), np.float32), np.array([0, rows], dtype=np.int64))
    tokens = rng.standard_normal((rows, spec.dim), dtype=np.float32)
    return LocalFeatures(tokens, np.zeros((rows, 4), np.float32), np.array([0, rows], dtype=np.int64))


def put(store: Store, spec: FeatureSpec, images: dict[str, int]) -> None:
    """Put images: id -> seed of its features."""
    store.register(Fingerprint(METHOD, 1), spec)
    store.put(
        [
            Entry(ImageRecord(name, "", "", 0, 1, 1, "PNG"), {METHOD: features(spec, seed)})
            for name, seed in images.items()
        ]
    )


def names(store: Store, index: AnnIndex, query: Features, n: int) -> list[str]:
    """Ids of the proposed images, best first."""
    keys = index.propose(query, n)[0].keys
    existing, block = store.load(METHOD, np.sort(keys))
    by_key = dict(zip(existing.tolist(), block.ids, strict=True))
    assert set(by_key) == set(keys.tolist()), "a removed image was proposed"
    return [by_key[key] for key in keys.tolist()]


class AnnIndexSuite:
    """Provide the fixtures ``make_store``, ``make_index`` and ``spec``; every test then runs on your index."""

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Create an empty store."""
        raise NotImplementedError("provide a fixture named make_store")

    @pytest.fixture
    def make_index(self) -> MakeIndex:
        """Create the index of a method over a store."""
        raise NotImplementedError("provide a fixture named make_index")

    @pytest.fixture
    def spec(self) -> FeatureSpec:
        """Kind, dimension and dtype of the features."""
        raise NotImplementedError("provide a fixture named spec")

    def test_an_empty_store_gives_no_proposals(
        self, make_store: MakeStore, make_index: MakeIndex, spec: FeatureSpec
    ) -> None:
        """Neither for an unregistered method nor for one without images."""
        store = make_store()
        index = make_index(store, METHOD, spec)
        assert len(index.propose(features(spec, 0), 5)[0].keys) == 0
        put(store, spec, {})
        assert not index.refresh()
        assert len(index.propose(features(spec, 0), 5)[0].keys) == 0
        assert index.state().images == 0
        assert index.verify() == []

    def test_identical_features_are_proposed_first(
        self, make_store: MakeStore, make_index: MakeIndex, spec: FeatureSpec
    ) -> None:
        """Among many images."""
        store = make_store()
        put(store, spec, {str(seed): seed for seed in range(120)})
        index = make_index(store, METHOD, spec)
        assert index.refresh()
        state = index.state()
        assert (state.method, state.images, state.indexed, state.waiting) == (METHOD, 120, 120, 0)
        assert state.bytes > 0
        for seed in (0, 17, 119):
            (proposed,) = index.propose(features(spec, seed), 3)
            assert names(store, index, features(spec, seed), 3)[0] == str(seed)
            assert len(proposed.keys) <= 6
            assert (np.diff(proposed.scores) <= 0).all()
        assert not index.refresh()
        assert index.verify() == []
        assert index.refresh(rebuild=True)
        assert names(store, index, features(spec, 17), 3)[0] == "17"

    def test_a_batch_gives_the_proposals_of_its_queries(
        self, make_store: MakeStore, make_index: MakeIndex, spec: FeatureSpec
    ) -> None:
        """The same as each query alone; an empty batch gives none."""
        store = make_store()
        put(store, spec, {str(seed): seed for seed in range(60)})
        index = make_index(store, METHOD, spec)
        index.refresh()
        batch = concatenate(spec, [features(spec, seed) for seed in (3, 40, 3)])
        together = [proposals.keys.tolist() for proposals in index.propose(batch, 5)]
        alone = [index.propose(features(spec, seed), 5)[0].keys.tolist() for seed in (3, 40)]
        assert together == [alone[0], alone[1], alone[0]]
        assert alone[0][0] != alone[1][0]
        assert index.propose(concatenate(spec, []), 5) == []

    def test_new_images_are_proposed_immediately(
        self, make_store: MakeStore, make_index: MakeIndex, spec: FeatureSpec
    ) -> None:
        """Also before they are indexed, as all waiting images are; a replaced image not by its former features."""
        store = make_store()
        put(store, spec, {str(seed): seed for seed in range(40)})
        index = make_index(store, METHOD, spec)
        index.refresh()
        put(store, spec, {"new": 1000, "7": 1007})
        waiting = index.state().waiting
        assert waiting in {0, 2}  # 0: the store itself has indexed them
        if waiting:
            assert {"new", "7"} <= set(names(store, index, features(spec, 3), 1))
        for seed in (1000, 1007):
            assert {1000: "new", 1007: "7"}[seed] in names(store, index, features(spec, seed), 1)
        assert index.refresh() == bool(waiting)
        assert names(store, index, features(spec, 1000), 1)[0] == "new"
        assert names(store, index, features(spec, 1007), 1)[0] == "7"

    def test_removed_images_are_not_proposed(
        self, make_store: MakeStore, make_index: MakeIndex, spec: FeatureSpec
    ) -> None:
        """Whether one image, most images, or the whole method was removed."""
        store = make_store()
        put(store, spec, {str(seed): seed for seed in range(40)})
        index = make_index(store, METHOD, spec)
        index.refresh()
        store.delete(["5"])
        assert "5" not in names(store, index, features(spec, 5), 40)
        store.delete([str(seed) for seed in range(30)])
        assert set(names(store, index, features(spec, 5), 40)) <= {str(seed) for seed in range(30, 40)}
        index.refresh()
        assert names(store, index, features(spec, 33), 1)[0] == "33"
        store.unregister(METHOD)
        assert len(index.propose(features(spec, 33), 40)[0].keys) == 0

    def test_proposals_with_a_filter(
        self, make_store: MakeStore, make_index: MakeIndex, spec: FeatureSpec
    ) -> None:
        """Enough images are proposed for some to match, and the store keeps those that do."""
        store = make_store()
        store.register(Fingerprint(METHOD, 1), spec)
        for seed in range(64):
            image = ImageRecord(str(seed), "", "", 0, 1, 1, "PNG", metadata={"odd": seed % 2})
            store.put([Entry(image, {METHOD: features(spec, seed)})])
        index = make_index(store, METHOD, spec)
        where = filters.parse({"odd": 1})
        for _ in range(2):  # before and after indexing
            for seed in (3, 41):
                keys = np.sort(index.propose(features(spec, seed), 8, where=where)[0].keys)
                ids = store.load(METHOD, keys, where=where)[1].ids
                assert len(ids) >= 8
                assert str(seed) in ids
                assert all(int(image_id) % 2 for image_id in ids)
            index.refresh()

    def test_a_sample_contains_existing_images(
        self, make_store: MakeStore, make_index: MakeIndex, spec: FeatureSpec
    ) -> None:
        """The sample is stable when other images change."""
        store = make_store()
        put(store, spec, {str(seed): seed for seed in range(40)})
        index = make_index(store, METHOD, spec)
        before = set(index.sample(10).ids)
        index.refresh()
        assert set(index.sample(10).ids) == before
        gone = sorted(before)[0]
        store.delete([gone])
        after = set(index.sample(10).ids)
        assert before - after == {gone}
        assert len(after) == 10

    def test_random_histories(self, make_store: MakeStore, make_index: MakeIndex, spec: FeatureSpec) -> None:
        """No removed image is proposed, and every existing image is found by its own features."""
        steps = st.lists(
            st.tuples(st.sampled_from(["put", "delete", "refresh", "again"]), st.integers(0, 11)), max_size=14
        )

        @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
        @given(steps)
        def run(history: list[tuple[str, int]]) -> None:
            store, existing, seed = make_store(), {f"first {n}": n for n in range(30)}, 100
            put(store, spec, existing)
            index = make_index(store, METHOD, spec)
            index.refresh()
            for step, number in history:
                name = f"image {number}"
                if step == "put":
                    seed += 1
                    existing[name] = seed
                    put(store, spec, {name: seed})
                elif step == "delete":
                    store.delete([name, f"first {number}"])
                    existing.pop(name, None)
                    existing.pop(f"first {number}", None)
                elif step == "refresh":
                    index.refresh(rebuild=number == 0)
                else:
                    index = make_index(store, METHOD, spec)
                assert set(names(store, index, features(spec, 0), 100)) <= set(existing)
                if name in existing:
                    assert name in names(store, index, features(spec, existing[name]), 1)
            assert index.state().images == len(existing)
            store.close()

        run()
