"""Registration of methods; features of different fingerprints are never mixed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imagefinder.core.contracts import Store
from imagefinder.core.errors import (
    FingerprintMismatchError,
    MethodNotIndexedError,
)
from imagefinder.core.features import FeatureSpec, GlobalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry
from imagefinder.testing.stores.fixtures import StoreFixtures
from imagefinder.testing.stores.samples import (
    METHODS,
    content,
    entry,
    features,
    fingerprint,
    register,
    scanned,
)


class MethodSuite(StoreFixtures):
    """Tests of ``register`` and ``unregister``."""

    def test_register_again(self, store: Store) -> None:
        """Repeating a registration changes nothing, also with a deserialised fingerprint."""
        store.put([entry("a", 1)])
        register(store)
        store.register(Fingerprint.from_json(fingerprint("points").to_json()), METHODS["points"])
        assert scanned(store, "points") == {"a": content(features("points", 1))}

    def test_register_with_another_fingerprint(self, store: Store) -> None:
        """It is rejected with both values as long as there are features, and changes nothing."""
        store.put([entry("a", 1)])
        with pytest.raises(FingerprintMismatchError, match=r"7.*8"):
            store.register(replace(fingerprint("points"), parameters={"size": 8}), METHODS["points"])
        with pytest.raises(FingerprintMismatchError, match=r"1.*2"):
            store.register(replace(fingerprint("points"), version=2), METHODS["points"])
        with pytest.raises(FingerprintMismatchError, match=r"8.*9"):
            store.register(fingerprint("points"), FeatureSpec("local", 9, "uint8"))
        stored = store.info().methods["points"]
        assert (stored.fingerprint, stored.spec) == (fingerprint("points"), METHODS["points"])
        store.put([entry("b", 2)])
        assert set(scanned(store, "points")) == {"a", "b"}

    def test_register_with_another_fingerprint_without_features(self, store: Store) -> None:
        """Without features, a registration can be replaced."""
        store.put([entry("a", 1)])
        store.delete(["a"])
        now = FeatureSpec("global", 3, "float32")
        store.register(fingerprint("points", more=1), now)
        store.put([Entry(entry("a").image, {"points": GlobalFeatures(np.ones((1, 3), dtype=np.float32))})])
        stored = store.info().methods["points"]
        assert (stored.fingerprint, stored.spec, stored.images) == (fingerprint("points", more=1), now, 1)

    def test_unregister(self, store: Store) -> None:
        """The features are deleted, the images remain, and another fingerprint can be registered."""
        store.put([entry("a", 1), entry("b", 2)])
        assert len(scanned(store, "points")) == 2
        store.unregister("points")
        store.unregister("unregistered")
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
