"""The contracts of searches with words.

All implementations must be safe to call from several threads at once.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.features import GlobalFeatures
from imagefinder.core.results import Label


class EncodedText(Protocol):
    """A text that images can be compared with."""

    @property
    def words(self) -> tuple[str, ...]:
        """The words and phrases of the text that are searched for."""
        ...

    @property
    def ignored(self) -> tuple[str, ...]:
        """The words of the text that are not known."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that the words name; empty for a vocabulary without classes."""
        ...

    @property
    def threshold(self) -> float:
        """An image shows the text if its score is at least this."""
        ...

    def score(self, features: GlobalFeatures) -> NDArray[np.float64]:
        """Score each image of a batch.

        Returns:
            ``(B,)`` float64, finite; higher is better.
        """
        ...

    def standard(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores on a scale on which those of images that do not show the text are roughly normal; increasing."""
        ...


class TextEncoder(Protocol):
    """Compares words with the vectors of one method."""

    def vocabulary_size(self) -> int | None:
        """Number of known words and phrases; ``None``: any text is understood."""
        ...

    def encode(self, text: str) -> EncodedText:
        """Understand a text.

        Raises:
            UnknownWordsError: no word of it is known.
            ModelMissingError: the weights are not on this machine.
        """
        ...

    def labels(self, features: GlobalFeatures) -> list[tuple[Label, ...]]:
        """What each image of a batch may show, most likely first; a label is a suggestion, not a fact.

        Raises:
            ModelMissingError: the weights are not on this machine.
        """
        ...
