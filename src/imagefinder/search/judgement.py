"""From scores and evidence to E-values and decisions.

Each thing that may speak for an image is a test with its own E-value: the score of each method, and its geometry, by
a method's own keypoints or by a closer look. Of several tests the best counts, times their number (Bonferroni): that holds
however they depend on one another. If both pictures look alike where one lies on the other, a chance geometry would
have to look alike by chance, too, so that probability multiplies the geometry's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from imagefinder.core.contracts import Tail
from imagefinder.core.results import Decision, Evidence
from imagefinder.search.background import CLOSER, SAME, Background, logit

MATCH = 0.01
"""E-values up to this are matches: of queries that nothing in the collection matches, about 1 in 100 gets one."""

POSSIBLE = 1.0
"""E-values up to this are possible: such a query gets about one."""

_LEAST = -300.0
"""Logarithms of smaller E-values are no longer numbers."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges the hits of one query.

    Attributes:
        background: Of the collection.
        searched: How many images were compared.
        tests: How many things may speak for an image.
    """

    background: Background
    searched: int
    tests: int

    def of_score(self, method: str, standardised: float) -> float:
        """log10 of the E-value of a standardised score, alone."""
        return self._expected(self.searched, self.background.methods[method].score, standardised)

    def of_geometry(self, method: str, evidence: Evidence) -> float:
        """log10 of the E-value of a geometry by the method's own keypoints."""
        tail = self.background.methods[method].geometry
        return 0.0 if tail is None else self._of_evidence(self.searched, tail, evidence)

    def of_closer_look(self, evidence: Evidence) -> float:
        """log10 of the E-value of a geometry that a closer look found."""
        return self._of_evidence(min(CLOSER, self.searched), self.background.closer, evidence)

    def together(self, tests: Mapping[str, float]) -> float:
        """log10 of the E-value of all of an image's tests together."""
        best = min(tests.values(), default=math.inf)
        most = math.log10(max(self.searched, 1))
        return max(_LEAST, min(most, best + math.log10(max(self.tests, 1))))

    def _of_evidence(self, looked_at: int, tail: Tail, evidence: Evidence) -> float:
        expected = self._expected(looked_at, tail, -evidence.log10_chance)
        return expected + self.of_agreement(evidence.agreement)

    def of_agreement(self, agreement: float | None) -> float:
        """log10 of how often what has a part in common looks alike as a whole; 0 where it does not.

        What looks alike in half of the overlap or less may just as well be a common part, a logo on two cartons.
        """
        if agreement is None or agreement <= SAME:
            return 0.0
        reached, half = self.background.agreement.log10_p(logit(np.array([agreement, SAME]))).tolist()
        return float(reached - half)

    @staticmethod
    def _expected(number: int, tail: Tail, value: float) -> float:
        return math.log10(max(number, 1)) + float(tail.log10_p(np.array([value]))[0])


def decide(log10_evalue: float, evidence: Evidence | None, searched: int) -> Decision:
    """What an E-value says.

    A geometry that placing matches at random would hardly ever give, in any image of the collection, is never
    nothing: in a collection with many pictures of one scene it is no rarity, and still something to look at.
    """
    if log10_evalue <= math.log10(MATCH):
        return "match"
    is_geometry = evidence is not None and evidence.log10_chance + math.log10(max(searched, 1)) <= math.log10(MATCH)
    return "possible" if log10_evalue <= math.log10(POSSIBLE) or is_geometry else "none"
