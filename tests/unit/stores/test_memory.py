import numpy as np
import pytest

from imagefinder.core.errors import StoreError
from imagefinder.core.features import FeatureSpec, GlobalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.stores.memory import MemoryStore


@pytest.fixture
def store():
    store = MemoryStore()
    store.register(Fingerprint("m", 1), FeatureSpec("global", 2, "float32"))
    store.put(
        [
            Entry(
                ImageRecord("a", "", "", 1, 1, 1, "", metadata={"x": [1]}),
                {"m": GlobalFeatures(np.ones((1, 2), np.float32))},
            )
        ]
    )
    return store


def test_stored_data_cannot_be_modified(store):
    with pytest.raises(ValueError, match="read-only"):
        store.features("a", "m").vectors[0, 0] = 5
    store.get("a").metadata["x"].append(2)
    store.images()[0].metadata["x"].append(2)
    assert store.get("a").metadata == {"x": [1]}


def test_it_lies_nowhere(store):
    info = store.info()
    assert (info.location, info.format_version, info.bytes_on_disk) == ("memory", 0, 0)


def test_after_closing(store):
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.get("a")
    with pytest.raises(StoreError, match="closed"):
        store.scan("m")
