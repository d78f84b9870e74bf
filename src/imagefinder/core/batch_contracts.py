"""Optional contracts of matchers and verifiers that compare many pairs of images in one call.

Without them, pairs are compared one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Matcher, Verification, Verifier
from imagefinder.core.features import Features
from imagefinder.core.results import Size


@dataclass(frozen=True, slots=True, eq=False)
class MatchedPair:
    """Two images and the matches between them; the arguments of ``Verifier.verify``."""

    query: Features
    candidate: Features
    matches: NDArray[np.int64]
    query_size: Size
    candidate_size: Size


@runtime_checkable
class BatchMatcher(Matcher, Protocol):
    """A matcher that matches a query with many candidates in one call."""

    def matches_all(
        self, query: Features, candidates: Sequence[Features], *, threads: int
    ) -> list[NDArray[np.int64]]:
        """The result of ``matches`` for each candidate, on at most this many threads."""
        ...


@runtime_checkable
class BatchVerifier(Verifier, Protocol):
    """A verifier that verifies many pairs in one call."""

    def verify_all(self, pairs: Sequence[MatchedPair], *, threads: int) -> list[Verification | None]:
        """The result of ``verify`` for each pair, on at most this many threads."""
        ...
