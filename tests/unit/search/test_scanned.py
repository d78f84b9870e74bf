import gc
import weakref

import numpy as np
import pytest

from imagefinder.core.features import FeatureSpec, GlobalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, GalleryBlock, ImageRecord
from imagefinder.search.scanned import Scanned
from imagefinder.stores.memory import MemoryStore

SPEC = FeatureSpec("global", 2, "float32")


class CountingStore(MemoryStore):
    selected = ()

    def select(self, method, ids):
        self.selected = (*self.selected, *ids)
        return super().select(method, ids)


@pytest.fixture
def store():
    store = CountingStore()
    store.register(Fingerprint("m", 1), SPEC)
    store.put([Entry(ImageRecord(name, "", "", 1, 1, 1, "PNG"), {"m": vector(name)}) for name in "abcdef"])
    return store


def vector(name):
    return GlobalFeatures(np.array([[ord(name), 1]], dtype=np.float32))


def block(names):
    return GalleryBlock(tuple(names), GlobalFeatures(np.concatenate([vector(name).vectors for name in names])))


def test_blocks_in_memory_are_not_read_again(store):
    scanned, cached = Scanned(store, "m"), [block("abc"), block("def")]
    for one in cached:
        scanned.add(one)
    found = scanned.features(["e", "a", "unknown", "c"])
    assert {name: features.vectors[0, 0] for name, features in found.items()} == {"e": 101, "a": 97, "c": 99}
    assert {name for some in scanned.blocks("ae") for name in some.ids} == {"a", "e"}
    assert store.selected == ()


def test_other_blocks_are_released_and_their_images_selected(store):
    scanned, first = Scanned(store, "m"), block("abc")
    scanned.add(first)
    scanned.add(block("def"), keep=True)
    released = weakref.ref(first)
    del first
    gc.collect()
    assert released() is None
    store.delete(["b"])
    found = scanned.features("abf")
    assert {name: features.vectors[0, 0] for name, features in found.items()} == {"f": 102, "a": 97}
    assert store.selected == ("a", "b")


def test_a_method_removed_meanwhile_has_no_features(store):
    scanned = Scanned(store, "m")
    scanned.add(block("abc"))
    gc.collect()
    store.unregister("m")
    assert scanned.features("a") == {}


def test_matches_are_valid_while_their_features_are_in_memory(store):
    scanned, first, second = Scanned(store, "m"), block("abc"), block("def")
    scanned.add(first)
    scanned.add(second)
    matches = np.array([[0, 0]])
    scanned.keep_matches(0, 1, matches)
    scanned.keep_matches(1, 4, matches)
    assert scanned.matches("b", 0) is matches
    assert scanned.matches("e", 1) is matches
    for unknown in (("b", 1), ("e", 0), ("c", 0), ("unknown", 0)):
        assert scanned.matches(*unknown) is None
    del first
    gc.collect()
    assert scanned.matches("b", 0) is None  # its features may have been replaced in the store
    assert scanned.matches("e", 1) is matches
