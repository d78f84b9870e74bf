"""Words by the classifier of a network: vectors become probabilities of the classes that words name."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import ModelError, UnknownWordsError
from imagefinder.core.features import GlobalFeatures
from imagefinder.core.results import Label
from imagefinder.core.text_contracts import EncodedText
from imagefinder.models.words import Phrase, ReadText, vocabulary

THRESHOLD = 0.1
"""An image shows a text if its probability is above chance by at least this fraction of what is left above chance.
Chance is the probability of the text if all classes have the same: 0.12 for "dog", which names 118 of 1,000."""

LABELS = 5
"""Largest number of labels of an image."""

TENSORS: Mapping[str, tuple[str, str]] = {
    f"efficientnet_lite{number}": ("_fc.weight", "_fc.bias") for number in range(3)
}
"""Architecture -> names of the weights, ``(classes, D)``, and biases of its classifier of ImageNet."""

_TRIED, _NEAR = 3, 5  # unknown words for which similar ones are searched, and how many of these are named
_ROWS = 1024  # images at a time, 4 MB for all classes
_SMALLEST = 1e-9  # probabilities are between this and its complement, so that their odds are finite


class ClassifierWords:
    """A text encoder that knows the words for the classes of ImageNet."""

    def __init__(self, name: str, architecture: str, read: Callable[[], Mapping[str, NDArray[Any]]]) -> None:
        """Create an encoder; the weights are read with the first text.

        Args:
            name: Name of the method.
            architecture: Architecture of the network, one of ``TENSORS``.
            read: Returns the tensors of the weight file; raises ``ModelMissingError`` if there is none.
        """
        self._name = name
        self._tensors = TENSORS[architecture]
        self._read = read
        self._loaded: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        self._kept: dict[int, tuple[weakref.ref[NDArray[np.float32]], NDArray[np.float32]]] = {}
        self._lock = threading.Lock()

    def vocabulary_size(self) -> int:
        """Number of known words and phrases."""
        return len(vocabulary())

    def encode(self, text: str) -> EncodedText:
        """Understand a text.

        Raises:
            UnknownWordsError: no word of it is known.
            ModelMissingError: the weights are not on this machine.
        """
        words = vocabulary()
        found = words.read(text)
        if not found.phrases:
            tried = dict.fromkeys((text, *found.unknown[:_TRIED]))
            near = list(dict.fromkeys(name for word in tried for name in words.near(word)))
            raise UnknownWordsError(text, near[:_NEAR], method=self._name, known=len(words))
        return _ClassifierText(self, found, words.classes)

    def labels(self, features: GlobalFeatures) -> list[tuple[Label, ...]]:
        """The most likely classes of each image of a batch, with probabilities of at least ``THRESHOLD``."""
        names = vocabulary().classes
        return [
            tuple(
                Label(names[number], round(float(row[number]), 4))
                for number in np.argsort(-row, kind="stable")[:LABELS].tolist()
                if row[number] >= THRESHOLD
            )
            for row in self.probabilities(features.vectors)
        ]

    def probabilities(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probability of each class: ``(B, D)`` float32 to ``(B, classes)`` float32, rows sum to 1."""
        return self.some_probabilities(vectors, slice(None))

    def some_probabilities(
        self, vectors: NDArray[np.float32], classes: Sequence[int] | slice
    ) -> NDArray[np.float32]:
        """The probabilities of some classes: ``(B, D)`` float32 to ``(B, C)`` float32."""
        weights, biases = self._classifier()
        logits = vectors @ weights[:, classes] + biases[classes]
        logits -= self._normalisers(vectors)[:, None]
        probabilities: NDArray[np.float32] = np.exp(logits, out=logits)
        return probabilities

    def _normalisers(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(B,)`` float32, logarithm of the sum of the exponentials of all classes.

        It takes most of the time of a search, and stores keep the arrays that they read, so it is computed once
        for each of these arrays.
        """
        kept = self._kept.get(id(vectors))
        if kept is not None and kept[0]() is vectors:
            return kept[1]
        weights, biases = self._classifier()
        values = np.empty(len(vectors), dtype=np.float32)
        for at in range(0, len(vectors), _ROWS):
            logits = vectors[at : at + _ROWS] @ weights + biases
            largest = logits.max(axis=1)
            values[at : at + _ROWS] = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))
        self._kept[id(vectors)] = weakref.ref(vectors, partial(self._forget, id(vectors))), values
        return values

    def _forget(self, key: int, _: object) -> None:
        self._kept.pop(key, None)

    def load(self) -> None:
        """Read the weights, unless they were read already.

        Raises:
            ModelMissingError, ModelCorruptError: the weights are not on this machine, or are damaged.
            ModelError: they have no classifier of the classes of ImageNet.
        """
        self._classifier()

    def _classifier(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights ``(D, classes)`` and biases ``(classes,)``."""
        with self._lock:
            if self._loaded is None:
                tensors = self._read()
                weights, biases = (tensors.get(name, np.empty(0)).astype(np.float32) for name in self._tensors)
                count = len(vocabulary().classes)
                if weights.ndim != 2 or (len(weights), biases.shape) != (count, (count,)):
                    raise ModelError(
                        f"the weights of {self._name} have no classifier of the {count:,} classes of ImageNet",
                        hint="name another method for the search with words: --method NAME",
                    )
                self._loaded = np.ascontiguousarray(weights.T), biases
            return self._loaded


@dataclass(frozen=True, slots=True, eq=False)
class _ClassifierText:
    """A text for which the classifier knows at least one word."""

    encoder: ClassifierWords
    read: ReadText
    names: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The known words and phrases."""
        return tuple(phrase.name for phrase in self.read.phrases)

    @property
    def ignored(self) -> tuple[str, ...]:
        """The unknown words."""
        return self.read.unknown

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that the words name."""
        numbers = (number for groups in self._readings() for group in groups for number in group)
        return tuple(dict.fromkeys(self.names[number] for number in numbers))

    @property
    def threshold(self) -> float:
        """The smallest probability of an image that shows the text."""
        count = len(self.names)
        uniform = np.full((1, count), 1 / count, dtype=np.float32)
        chance = max(float(_together(uniform, groups)[0]) for groups in self._readings())
        return round(chance + THRESHOLD * (1 - chance), 4)

    def score(self, features: GlobalFeatures) -> NDArray[np.float64]:
        """The probability that an image shows the text: the sum of those of the classes that a word names.

        Several words: the classes that all of them name. If there are none, one image must show several things;
        the score is then the geometric mean of the probabilities of the words, times their number. If a phrase can
        also be read as its words, the larger of the two scores counts.
        """
        readings = self._readings()
        numbers = sorted({number for groups in readings for group in groups for number in group})
        columns = {number: column for column, number in enumerate(numbers)}
        classes = self.encoder.some_probabilities(features.vectors, numbers)
        scores = [
            _together(classes, [[columns[number] for number in group] for group in groups]) for groups in readings
        ]
        best: NDArray[np.float64] = np.minimum(np.max(scores, axis=0), 1.0)
        return best

    def standard(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """The logarithms of the odds."""
        inside = np.clip(scores, _SMALLEST, 1 - _SMALLEST)
        odds: NDArray[np.float64] = np.log(inside) - np.log1p(-inside)
        return odds

    def _readings(self) -> list[list[tuple[int, ...]]]:
        """For each way to read the text: the classes to add up, for each thing that an image must show."""
        whole = self.read.phrases
        split = tuple(part for phrase in whole for part in phrase.parts or (phrase,))
        return [_groups(phrases) for phrases in dict.fromkeys((whole, split))]


def _together(classes: NDArray[np.float32], groups: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """The probability that an image shows all of several things, as far as a classifier of single things shows.

    Args:
        classes: ``(B, C)`` float32, probabilities of some classes.
        groups: Columns of the classes of each thing.
    """
    sums = np.stack([classes[:, group].sum(axis=1, dtype=np.float64) for group in groups])
    joint: NDArray[np.float64] = len(groups) * np.exp(np.log(np.maximum(sums, _SMALLEST)).mean(axis=0))
    return joint


def _groups(phrases: Sequence[Phrase]) -> list[tuple[int, ...]]:
    common = set(phrases[0].classes).intersection(*(phrase.classes for phrase in phrases))
    return [tuple(sorted(common))] if common else [phrase.classes for phrase in phrases]
