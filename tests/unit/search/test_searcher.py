import numpy as np
import pytest
from runtimes import runtime

from imagefinder.core.errors import (
    FingerprintMismatchError,
    InputError,
    MethodNotIndexedError,
    ModelMissingError,
    UnknownImageError,
)
from imagefinder.core.features import FeatureSpec, GlobalFeatures
from imagefinder.core.filters import All
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.method import Method
from imagefinder.core.query import Query, SearchOptions
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.core.stopwatch import Stopwatch
from imagefinder.matching.cosine import CosineMatcher
from imagefinder.search.allowed import Allowed
from imagefinder.search.encoding import QueryImage, query_image
from imagefinder.search.retrieval import Gallery
from imagefinder.search.searcher import Searcher
from imagefinder.stores.memory import MemoryStore

SPEC = FeatureSpec("global", 3, "float32")


class MeanColour:
    """A minimal extractor: the mean colour of the image."""

    spec = SPEC

    def __init__(self, version=1, weights_missing=False):
        self.version, self.weights_missing = version, weights_missing

    def fingerprint(self):
        if self.weights_missing:
            raise ModelMissingError("mean-colour")
        return Fingerprint("mean-colour", self.version)

    def extract(self, images):
        self.fingerprint()
        return GlobalFeatures(np.array([i.mean((0, 1)) for i in images], np.float32).reshape(-1, 3))


def method(**changes):
    return Method("mean-colour", "", "cosine", MeanColour(**changes), CosineMatcher())


def picture(*colour):
    return np.full((4, 5, 3), colour, np.uint8)


COLOURS = {"red": (250, 0, 0), "rose": (250, 90, 90), "green": (0, 250, 0), "grey": (90, 90, 90)}


@pytest.fixture
def store():
    store, extractor = MemoryStore(), MeanColour()
    store.register(extractor.fingerprint(), SPEC)
    store.put(
        [
            Entry(ImageRecord(name, "", "", 1, 5, 4, "PNG"), {"mean-colour": extractor.extract([picture(*c)])})
            for name, c in COLOURS.items()
        ]
    )
    return store


def search_gallery(gallery, used, image, k=3):
    options = SearchOptions("mean-colour", k, "matches", evalues=False)
    return (
        Searcher(runtime(), gallery, [used], lambda _: None).search(Query(b""), image, options, Stopwatch()).result
    )


def search(store, query, k=3, **changes):
    if isinstance(query, str):
        store.get(query)
        image = QueryImage(picture(0, 0, 0), (5, 4), (5, 4), id=query)
    else:
        image = query_image(query)
    return search_gallery(Gallery(store), method(**changes), image, k)


def test_every_image_is_scored_and_the_best_come_first(store):
    result = search(store, picture(200, 0, 0))
    assert result.ids == ["red", "rose", "grey"]
    assert result.searched == 4
    assert (result.method, result.mode) == ("mean-colour", "exact")
    assert result.fingerprint == Fingerprint("mean-colour", 1).digest
    assert [hit.rank for hit in result.hits] == [1, 2, 3]
    assert result.hits[0].score == pytest.approx(1)
    assert set(result.timings) == {"extract", "match", "total"}


def test_the_first_hits_do_not_depend_on_k(store):
    everything = search(store, picture(200, 0, 0), k=99)
    assert len(everything.hits) == 4
    for k in (1, 2, 3, 4):
        assert search(store, picture(200, 0, 0), k=k).hits == everything.hits[:k]


def test_by_id_excludes_the_image_itself(store):
    assert search(store, "red", k=9).ids == ["rose", "grey", "green"]
    assert search(store, "red", k=1).ids == ["rose"]


def test_by_id_needs_no_weights(store):
    assert search(store, "red", k=1, weights_missing=True).ids == ["rose"]


def test_unknown_id(store):
    with pytest.raises(UnknownImageError, match="'blue'"):
        search(store, "blue")


def test_an_empty_collection_gives_no_hits():
    result = search(MemoryStore(), picture(1, 2, 3))
    assert (result.hits, result.searched) == ((), 0)


def test_a_method_without_features(store):
    store.unregister("mean-colour")
    with pytest.raises(MethodNotIndexedError, match="no mean-colour features"):
        search(store, picture(1, 2, 3))
    with pytest.raises(MethodNotIndexedError):
        search(store, "red")


def test_missing_weights_are_an_error_without_fallback(store):
    with pytest.raises(ModelMissingError):
        search(store, picture(1, 2, 3), weights_missing=True)
    store.unregister("mean-colour")
    with pytest.raises(ModelMissingError):
        search(store, picture(1, 2, 3), weights_missing=True)


def test_other_fingerprints_are_rejected_with_both_values(store):
    with pytest.raises(FingerprintMismatchError, match=r"version 1 vs\. 2"):
        search(store, picture(1, 2, 3), version=2)


@pytest.mark.parametrize("k", [0, -1])
def test_k_must_be_positive(store, k):
    with pytest.raises(InputError, match="k must be at least 1"):
        search(store, picture(1, 2, 3), k=k)


def test_only_allowed_images_are_read(store):
    def among(*ids):
        allowed = Allowed(All(()), len(ids), len(ids), set(ids))
        return search_gallery(Gallery(store, allowed=allowed), method(), query_image(picture(250, 10, 10)))

    result = among("green", "rose", "not there")
    assert result.ids == ["rose", "green"]
    assert result.searched == 2
    assert result.query_size == (5, 4)
    assert among().ids == []
