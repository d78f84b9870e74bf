from dataclasses import replace

import numpy as np
import pytest

from imagefinder.core.errors import FingerprintMismatchError, InputError
from imagefinder.core.features import FeatureSpec, GlobalFeatures
from imagefinder.core.file_metadata import FileMetadata
from imagefinder.core.filters import parse
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.method import Method
from imagefinder.core.query import Query, SearchOptions
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.core.stopwatch import Stopwatch
from imagefinder.extractors.classifier import ClassifierWords
from imagefinder.matching.cosine import CosineMatcher
from imagefinder.models.words import vocabulary
from imagefinder.search.allowed import Allowed
from imagefinder.search.encoding import query_image
from imagefinder.search.words import WordSearcher, labels
from imagefinder.stores.memory import MemoryStore

SPEC = FeatureSpec("global", 1000, "float32")
SHOWS = {"a": ("beagle",), "b": ("pug", "banana"), "c": ("banana",), "d": ("daisy",), "e": ()}


def vector(*names):
    found = np.full((1, 1000), 0.01, np.float32)
    for name in names:
        found[0, vocabulary().classes.index(name)] = 12.0
    return found


class Beagles:
    """Extracts the vector of a beagle from any image."""

    spec = SPEC

    def __init__(self, version=1):
        self.version = version

    def fingerprint(self):
        return Fingerprint("net", self.version)

    def extract(self, images):
        return GlobalFeatures(np.concatenate([vector("beagle") for _ in images]))


def method(version=1):
    tensors = {"_fc.weight": np.eye(1000, dtype=np.float32), "_fc.bias": np.zeros(1000, np.float32)}
    text = ClassifierWords("net", "efficientnet_lite0", lambda: tensors)
    return Method("net", "", "cosine", Beagles(version), CosineMatcher(), text=text)


@pytest.fixture
def store():
    store = MemoryStore()
    store.register(method().extractor.fingerprint(), SPEC)
    store.put(
        [
            Entry(
                ImageRecord(name, "", name, 1, 4, 5, "PNG", metadata={"n": number}),
                {"net": GlobalFeatures(vector(*shows))},
            )
            for number, (name, shows) in enumerate(SHOWS.items())
        ]
    )
    return store


PICTURE = np.zeros((4, 5, 3), np.uint8)


def search(store, text, image=None, allowed=None, query_id=None, **options):
    query = Query(PICTURE if image is not None else None, text=text)
    found = WordSearcher(store, method(), allowed).search(query, image, SearchOptions(**options), Stopwatch())
    return found.result


def test_images_that_show_the_word_are_found_and_nothing_is_decided(store):
    result = search(store, "dogs", k=10)
    assert result.ids == ["a", "b"]
    assert result.hits[0].score > 0.9
    assert result.hits[1].score == pytest.approx(0.5, abs=0.01)
    assert (result.decision, result.null_model, result.hits[0].evalue) == (None, None, None)
    assert (result.method, result.mode, result.searched, result.ranking) == ("net", "exact", 5, "matches")
    assert (result.words.words, result.words.shown, len(result.words.classes)) == (("dog",), 2, 20)


def test_no_image_shows_the_word(store):
    result = search(store, "volcano")
    assert result.hits == ()
    assert result.words.shown == 0
    assert result.words.best < result.words.threshold
    assert (result.decision, result.searched) == (None, 5)


def test_k_and_min_score_limit_the_hits(store):
    assert search(store, "dog", k=1).ids == ["a"]
    assert search(store, "dog", min_score=0.8).ids == ["a"]


def test_a_filter_limits_the_images(store):
    allowed = Allowed.of(store, parse({"n": {"gte": 1}}), fast=False)
    result = search(store, "dog", allowed=allowed)
    assert (result.ids, result.searched) == (["b"], 4)


def test_a_filter_that_many_images_match(store, monkeypatch):
    monkeypatch.setattr("imagefinder.search.words.FEW", 2)
    allowed = Allowed.of(store, parse({"n": {"gte": 1}}), fast=False)
    result = search(store, "banana", allowed=allowed)
    assert (result.ids, result.searched) == (["c", "b"], 4)


def test_versions_of_one_picture_are_one_hit(store):
    for name in ("a", "b"):
        entry = store.entry(name)
        store.put([replace(entry, image=replace(entry.image, file_metadata=FileMetadata({}, "1", "stack 1")))])
    searcher = WordSearcher(store, method(), None, stacks=True)
    (hit,) = searcher.search(Query(text="dog"), None, SearchOptions(), Stopwatch()).result.hits
    assert (hit.id, hit.stack) == ("a", ("b",))
    assert search(store, "dog").ids == ["a", "b"]


def test_with_an_image_both_scores_count(store):
    result = search(store, "banana", query_image(PICTURE), k=5)
    assert len(result.hits) == 5  # a ranking: nothing is cut off
    assert set(result.ids[:3]) == {"a", "b", "c"}
    assert result.query_size == (5, 4)
    scores = [hit.score for hit in result.hits]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(0, abs=1e-6)  # both parts are standardised


def test_an_image_alone_and_words_alone_agree_with_both(store):
    """A text and an image that ask for the same have the same best image."""
    assert search(store, "beagle", query_image(PICTURE), k=1).ids == ["a"]


def test_evalues_cannot_be_limited(store):
    with pytest.raises(InputError, match="no E-values"):
        search(store, "dog", max_evalue=1.0)


def test_vectors_of_other_weights_are_refused(store):
    searcher = WordSearcher(store, method(version=2), None)
    with pytest.raises(FingerprintMismatchError, match="other parameters or weights"):
        searcher.search(Query(text="dog"), None, SearchOptions(), Stopwatch())
    with pytest.raises(FingerprintMismatchError):
        labels(store, method(version=2), "a")


def test_labels_of_a_stored_image(store):
    assert [one.name for one in labels(store, method(), "b")] == ["pug", "banana"]
    assert labels(store, method(), "e") == ()


def test_an_empty_store_has_no_hits():
    result = search(MemoryStore(), "dog")
    assert (result.hits, result.searched, result.words.best) == ((), 0, None)
