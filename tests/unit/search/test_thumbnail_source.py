from dataclasses import replace

import numpy as np
import pytest

import imagefinder
from imagefinder.core.lru import LruCache
from imagefinder.core.records import Entry
from imagefinder.core.settings import Settings
from imagefinder.images.resize import thumbnail
from imagefinder.search.candidates import Candidates
from imagefinder.search.encoding import query_image
from imagefinder.search.thumbnail_source import ThumbnailSource
from imagefinder.testing.extractors import textured_image
from imagefinder.testing.stores.samples import content
from imagefinder.wiring import thumbnail_method


class Counted:
    """The extractor of thumbnails, which counts the images that it was given."""

    def __init__(self, extractor):
        self.spec, self.fingerprint, self.count = extractor.spec, extractor.fingerprint, 0
        self._extract = extractor.extract

    def extract(self, images):
        self.count += len(images)
        return self._extract(images)


@pytest.fixture
def method():
    made = thumbnail_method(Settings(threads=1))
    return replace(made, extractor=Counted(made.extractor))


@pytest.fixture
def collection():
    with imagefinder.open(settings=Settings(store="memory", threads=1)) as collection:
        for seed in range(3):
            collection.put(f"{seed}", thumbnail(textured_image(seed, 300, 400), side=400))
        yield collection


def candidates(collection):
    reader = Candidates(collection.store)
    return [reader.get(f"{seed}") for seed in range(3)]


def strip(collection):
    """Leave the images without features of thumbnails, as in a collection of an earlier version."""
    store = collection.store
    store.put([store.entry(f"{seed}") for seed in range(3)])


def test_stored_features_are_those_computed_from_the_thumbnails(collection, method):
    stored = ThumbnailSource(method, collection.store).of_candidates(candidates(collection))
    assert method.extractor.count == 0
    strip(collection)
    computed = ThumbnailSource(method, collection.store).of_candidates(candidates(collection))
    assert method.extractor.count == 3
    assert [content(one) for one in stored] == [content(one) for one in computed]
    assert all(len(one.descriptors) > 100 for one in stored)
    assert max(one.keypoints[:, 0].max() for one in stored) > 256  # in pixels of the images, not the thumbnails


def test_computed_features_are_cached_by_content(collection, method):
    strip(collection)
    cache = LruCache(1 << 24)
    for _ in range(2):
        ThumbnailSource(method, collection.store, cache).of_candidates(candidates(collection))
    assert method.extractor.count == 3
    collection.put("1", thumbnail(textured_image(9, 300, 400), side=400))
    strip(collection)
    found = ThumbnailSource(method, collection.store, cache).of_candidates(candidates(collection))
    assert method.extractor.count == 4
    fresh = ThumbnailSource(method, collection.store).of_candidates(candidates(collection))
    assert [content(one) for one in found] == [content(one) for one in fresh]


def test_an_image_without_a_readable_thumbnail_has_no_features(collection, method):
    store = collection.store
    store.put([Entry(store.get("0"), {}), Entry(store.get("2"), {}, b"no image")])
    found = ThumbnailSource(method, store, LruCache(1 << 24)).of_candidates(candidates(collection))
    assert [one is None for one in found] == [True, False, True]


def test_a_stored_query_is_not_computed_and_a_box_of_it_is(collection, method):
    source = ThumbnailSource(method, collection.store)
    (candidate, *_) = candidates(collection)
    image = query_image(candidate.pixels)
    computed = source.of_query(image)
    assert method.extractor.count == 1
    whole = replace(image, id="0", size=candidate.size, whole=candidate.size)
    assert content(source.of_query(whole)) == content(source.of_candidates([candidate])[0])
    assert method.extractor.count == 1
    source.of_query(replace(whole, boxes=((0, 0, 99, 99),)))
    assert method.extractor.count == 2
    assert np.array_equal(computed.descriptors, source.of_query(whole).descriptors)
