import gc
from typing import get_args

import numpy as np
import pytest

from imagefinder.core.errors import ModelError, ModelMissingError, UnknownWordsError
from imagefinder.core.features import GlobalFeatures
from imagefinder.extractors import classifier
from imagefinder.extractors.classifier import THRESHOLD, ClassifierWords
from imagefinder.models.catalogue import Architecture
from imagefinder.models.words import vocabulary


def encoder(rng=None, dim=6):
    """A classifier with random weights or, without a generator, one whose inputs are the logits."""
    weights = np.eye(1000, dtype=np.float32) if rng is None else rng.normal(size=(1000, dim)).astype(np.float32)
    biases = np.zeros(1000, np.float32) if rng is None else rng.normal(size=1000).astype(np.float32)
    return ClassifierWords("net", "efficientnet_lite0", lambda: {"_fc.weight": weights, "_fc.bias": biases})


def image_of(*names, logit=20.0):
    """The logits of an image that shows these classes to equal parts."""
    vector = np.zeros((1, 1000), np.float32)
    for name in names:
        vector[0, vocabulary().classes.index(name)] = logit
    return vector


def shown(words, *images):
    return words.score(GlobalFeatures(np.concatenate(images))).tolist()


def test_the_score_of_a_word_is_the_sum_of_its_classes():
    rng = np.random.default_rng(1)
    words, vectors = encoder(rng), rng.normal(size=(1200, 6)).astype(np.float32)
    weights, biases = (part.astype(np.float64) for part in words._classifier())
    logits = vectors.astype(np.float64) @ weights + biases
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(words.probabilities(vectors), expected, atol=1e-6)
    (phrase,) = vocabulary().read("footwear").phrases
    assert len(phrase.classes) > 3
    scores = words.encode("footwear").score(GlobalFeatures(vectors))
    np.testing.assert_allclose(scores, expected[:, phrase.classes].sum(axis=1), atol=1e-6)


def test_several_words_must_be_shown_together():
    text = encoder().encode("beagle banana")
    both, one, neither = shown(text, image_of("beagle", "banana"), image_of("beagle"), image_of("pug"))
    assert both == pytest.approx(1.0, abs=0.01)
    assert one < THRESHOLD
    assert neither < THRESHOLD


def test_words_that_name_the_same_classes_narrow_one_another():
    text = encoder().encode("dog beagle")
    assert text.classes == ("beagle",)
    beagle, pug = shown(text, image_of("beagle"), image_of("pug"))
    assert beagle > 0.99
    assert pug < 0.01


@pytest.mark.parametrize("word", ["beagle", "dog", "animal", "artifact", "beagle banana", "coffee cup"])
def test_an_image_that_says_nothing_shows_nothing(word):
    """A word for many classes is probable by chance."""
    text = encoder().encode(word)
    (uniform,) = shown(text, np.zeros((1, 1000), np.float32))
    assert uniform < text.threshold < 1
    assert text.threshold >= THRESHOLD


def test_a_phrase_is_also_found_by_its_words():
    text = encoder().encode("coffee cup")
    cup, both, neither = shown(text, image_of("cup"), image_of("espresso", "cup"), image_of("pug"))
    assert min(cup, both) > 0.99
    assert neither < 0.01
    assert text.words == ("coffee cup",)
    assert text.classes == ("cup", "espresso")


def test_unknown_words_are_ignored_if_another_is_known():
    text = encoder().encode("a crimson beagle")
    assert (text.words, text.ignored) == (("beagle",), ("crimson",))


def test_a_text_without_a_known_word_is_an_error_that_helps():
    with pytest.raises(UnknownWordsError, match="no word of 'beegle'") as caught:
        encoder().encode("beegle")
    assert "beagle" in caught.value.near
    assert caught.value.hint.startswith("did you mean ")
    assert f"{len(vocabulary()):,} English nouns" in caught.value.hint
    assert "CLIP" in caught.value.hint


def test_labels_are_the_likely_classes():
    (labels, none) = encoder().labels(
        GlobalFeatures(np.concatenate([image_of("beagle", "banana"), np.zeros((1, 1000))], dtype=np.float32))
    )
    assert [one.name for one in labels] == ["beagle", "banana"]
    assert labels[0].probability == pytest.approx(0.5, abs=0.001)
    assert none == ()


def test_the_classes_of_an_array_are_computed_once(monkeypatch):
    words, array = encoder(), image_of("beagle")
    text, features = words.encode("beagle"), GlobalFeatures(array)
    first = text.score(features)
    assert len(words._kept) == 1
    words._kept[id(array)] = (words._kept[id(array)][0], np.full(1, 30, np.float32))
    assert text.score(features) < first  # what was kept is used
    del array, features
    gc.collect()
    assert words._kept == {}


def test_no_images():
    assert encoder().encode("beagle").score(GlobalFeatures(np.empty((0, 1000), np.float32))).shape == (0,)
    assert encoder().labels(GlobalFeatures(np.empty((0, 1000), np.float32))) == []


def test_standard_scores_are_finite_and_increase():
    values = encoder().encode("beagle").standard(np.array([0.0, 1e-6, 0.1, 0.5, 1.0]))
    assert np.isfinite(values).all()
    assert (np.diff(values) > 0).all()


def test_missing_weights_and_weights_without_a_classifier():
    def missing():
        raise ModelMissingError("net")

    with pytest.raises(ModelMissingError):
        ClassifierWords("net", "efficientnet_lite0", missing).load()
    other = {"_fc.weight": np.zeros((10, 6), np.float32), "_fc.bias": np.zeros(10, np.float32)}
    for tensors in ({}, other):
        with pytest.raises(ModelError, match="no classifier of the 1,000 classes of ImageNet"):
            ClassifierWords("net", "efficientnet_lite0", lambda found=tensors: found).load()


def test_every_classifier_is_of_a_known_architecture():
    assert set(classifier.TENSORS) <= set(get_args(Architecture))
