"""Collections read the colours of all images in one way: new ones convert them, older ones ignore profiles."""

import numpy as np
import pytest
from colour_profiles import encoded, rgb_profile
from PIL import Image
from runtimes import runtime

from imagefinder.collection import Collection
from imagefinder.core.method import COLOURS
from imagefinder.core.settings import Settings
from imagefinder.images.decoding.decode import decode
from imagefinder.stores.memory import MemoryStore
from imagefinder.testing.extractors import textured_image
from imagefinder.wiring import load_method

LIMITS = {"max_bytes": 10_000_000, "max_pixels": 5_000_000}
WIDE = encoded(np.asarray(Image.fromarray(textured_image(1)).resize((320, 240))), "PNG", rgb_profile("ProPhoto"))
PLAIN = encoded(textured_image(2), "PNG")


@pytest.fixture
def collections():
    """A function that opens a collection over a store."""
    settings = Settings(sift_max_keypoints=100)
    shared = runtime(
        settings,
        {
            "sift": lambda: load_method("sift", settings),
            "efficientnet-lite0": lambda: load_method("efficientnet-lite0", settings),
        },
    )
    opened = []

    def make(store):
        opened.append(Collection(store, shared, settings))
        return opened[-1]

    yield make
    for collection in opened:
        collection.close()


def old_store():
    """A store as an earlier version leaves it: its fingerprints lack the parameter."""
    store, extractor = MemoryStore(), load_method("sift", Settings(sift_max_keypoints=100)).extractor
    store.register(extractor.fingerprint(), extractor.spec)
    return store


def first_put(collection):
    """Put an image that makes an old collection one: only collections without images change."""
    extractor = load_method("sift", Settings(sift_max_keypoints=100)).extractor
    from imagefinder.core.records import Entry, ImageRecord

    record = ImageRecord("old", "", "0" * 64, 1, 160, 120, "PNG")
    collection.store.put([Entry(record, {"sift": extractor.extract([textured_image(5)])})])


def descriptors(features):
    return features.descriptors.tobytes()


def extracted(data, colours):
    extractor = load_method("sift", Settings(sift_max_keypoints=100)).extractor
    return descriptors(extractor.extract([decode(data, **LIMITS, colours=colours).rgb]))


def test_the_colours_matter():
    assert extracted(WIDE, "srgb") != extracted(WIDE, "file")
    assert extracted(PLAIN, "srgb") == extracted(PLAIN, "file")


def test_new_collections_convert_colours(collections, tmp_path):
    collection = collections(MemoryStore())
    (tmp_path / "added.png").write_bytes(WIDE)
    collection.add(tmp_path, methods=["sift"])
    collection.put("put", WIDE)
    for image_id in ("added.png", "put"):
        assert descriptors(collection.store.features(image_id, "sift")) == extracted(WIDE, "srgb")
    assert collection.info().methods["sift"].fingerprint.parameters[COLOURS] == "srgb"
    assert collection.search(WIDE).hits[0].score == collection.search(id="put").hits[0].score


def test_old_collections_go_on_as_before(collections, tmp_path):
    collection = collections(old_store())
    first_put(collection)
    (tmp_path / "added.png").write_bytes(WIDE)
    (tmp_path / "plain.png").write_bytes(PLAIN)
    collection.add(tmp_path)
    collection.put("put", WIDE)
    for image_id in ("added.png", "put"):
        assert descriptors(collection.store.features(image_id, "sift")) == extracted(WIDE, "file")
    assert descriptors(collection.store.features("plain.png", "sift")) == extracted(PLAIN, "srgb")
    assert COLOURS not in collection.info().methods["sift"].fingerprint.parameters
    query = collection.search(WIDE, method="sift", k=5)
    assert {hit.id for hit in query.hits[:2]} == {"added.png", "put"}
    assert query.fingerprint == collection.info().methods["sift"].fingerprint.digest
    assert len(collection.compare(WIDE, PLAIN).fingerprint) == 12


def test_a_method_that_is_added_to_an_old_collection_is_like_the_others(collections, tmp_path):
    collection = collections(old_store())
    first_put(collection)
    (tmp_path / "added.png").write_bytes(WIDE)
    collection.add(tmp_path, methods=["sift", "efficientnet-lite0"])
    assert all(COLOURS not in method.fingerprint.parameters for method in collection.info().methods.values())


def test_an_old_collection_without_images_becomes_a_new_one(collections):
    collection = collections(old_store())
    collection.put("a", WIDE)
    assert descriptors(collection.store.features("a", "sift")) == extracted(WIDE, "srgb")
    assert collection.info().methods["sift"].fingerprint.parameters[COLOURS] == "srgb"
