"""Samples of the images of a method."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagefinder.core.contracts import Store
from imagefinder.core.errors import MethodNotIndexedError
from imagefinder.core.records import Entry
from imagefinder.testing.stores.fixtures import StoreFixtures
from imagefinder.testing.stores.samples import MakeStore, content, entry, register

_IMAGES = 60


def _sha256(seed: int) -> str:
    return hashlib.sha256(b"%d" % seed).hexdigest()


def _without_sha256(_: int) -> str:
    return ""


def _mixed(seed: int) -> str:
    return _sha256(seed) if seed % 2 else ""


def _sampled(store: Store, method: str, n: int) -> list[tuple[Any, ...]]:
    """The contents of the sample, in its order."""
    return [content(store.features(image_id, method)) for image_id in store.sample(method, n)]


def _put(store: Store, seed: int, name: str, sha256: str) -> None:
    store.put([entry(name, seed, ["points", "vector"], sha256=sha256)])


_KINDS = pytest.mark.parametrize(
    "hash_of", [_sha256, _without_sha256, _mixed], ids=["encoded", "features only", "mixed"]
)


class SamplingSuite(StoreFixtures):
    """Tests of ``sample``."""

    @_KINDS
    def test_a_sample_depends_on_content_alone(
        self, store: Store, make_store: MakeStore, tmp_path: Path, hash_of: Callable[[int], str]
    ) -> None:
        """Other ids, and another order of adding, give the same images in the same order."""
        for seed in range(_IMAGES):
            _put(store, seed, f"image {seed}", hash_of(seed))
        other = make_store(tmp_path / "another")
        try:
            register(other)
            order = list(range(_IMAGES))
            random.Random(5).shuffle(order)
            for number, seed in enumerate(order):
                _put(other, seed, f"{number} of another name", hash_of(seed))
            for n in (1, 7, _IMAGES, 2 * _IMAGES):
                assert _sampled(store, "points", n) == _sampled(other, "points", n)
            assert len(store.sample("points", 2 * _IMAGES)) == _IMAGES
        finally:
            other.close()

    @_KINDS
    def test_a_sample_is_stable(self, store: Store, hash_of: Callable[[int], str]) -> None:
        """A smaller one is its beginning; added and removed images change it only by themselves."""
        for seed in range(_IMAGES):
            _put(store, seed, f"{seed}", hash_of(seed))
        before = store.sample("vector", 20)
        assert store.sample("vector", 5) == before[:5]
        store.delete([before[3]])
        after = store.sample("vector", 20)
        assert after[:19] == before[:3] + before[4:]
        _put(store, int(before[3]), "again", hash_of(int(before[3])))
        assert store.sample("vector", 20) == [*before[:3], "again", *before[4:]]

    @pytest.mark.parametrize("hash_of", [_sha256, _without_sha256], ids=["encoded", "features"])
    def test_copies_are_sampled_once(self, store: Store, hash_of: Callable[[int], str]) -> None:
        """The one with the smallest id represents images with the same content."""
        for name in ("c", "b", "d"):
            _put(store, 1, name, hash_of(1))
        _put(store, 2, "other", hash_of(2))
        assert sorted(store.sample("points", 9)) == ["b", "other"]
        store.delete(["b"])
        assert sorted(store.sample("points", 9)) == ["c", "other"]

    def test_only_images_of_the_method_are_sampled(self, store: Store) -> None:
        """Whether most images have features of the method, or few; also after features were added or replaced."""
        for seed in range(_IMAGES):
            given = entry(f"{seed}", seed, ["points"], sha256=_mixed(seed))
            store.put([given])
        assert store.sample("vector", 10) == []
        few = ["7", "8", "31"]
        for name in few:
            store.put_features(name, dict(entry(name, int(name)).features))
        assert sorted(store.sample("vector", 10)) == sorted(few)
        assert sorted(store.sample("tokens", 10)) == sorted(few)
        assert len(store.sample("points", 10)) == 10
        store.put([Entry(entry("8").image, {})])
        assert sorted(store.sample("vector", 10)) == ["31", "7"]
        store.unregister("vector")
        with pytest.raises(MethodNotIndexedError):
            store.sample("vector", 10)

    def test_an_empty_sample(self, store: Store) -> None:
        """An empty store, or a sample of no images."""
        assert store.sample("points", 5) == []
        store.put([entry("a", 1)])
        assert store.sample("points", 0) == []
        assert store.sample("points", 1) == ["a"]
        with pytest.raises(MethodNotIndexedError):
            store.sample("unregistered", 5)
