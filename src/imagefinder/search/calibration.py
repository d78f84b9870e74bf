"""From scores and geometry to E-values: how many images of the collection would do as well by chance.

Each thing that can speak for an image is a test with its own E-value: the score of each method, and a geometry, by
a method's own keypoints or by thumbnails. Of several tests the best counts, times their number (Bonferroni): that
holds however they depend on one another. If both images look alike where one lies on the other, a chance geometry
would have to look alike by chance too, so that probability multiplies the geometry's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Tail
from imagefinder.core.results import LOOKS_ALIKE, Evidence
from imagefinder.search.null_model import NullModel, logit
from imagefinder.search.retrieval import Scores, searched
from imagefinder.search.verification import THUMBNAILS, Finding, Verified

_LEAST = -300.0
"""Powers of ten below this are no floating-point numbers."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Turns the scores and geometries of one search into E-values, as logarithms to base 10.

    Attributes:
        null_model: Of the collection.
        searched: Number of images that were compared.
        tests: Number of things that can speak for an image.
    """

    null_model: NullModel
    searched: int
    tests: int

    @classmethod
    def of_search(cls, null_model: NullModel, scores: Sequence[Scores]) -> Calibration:
        """For a search that scores by these methods and verifies the best candidates."""
        return cls(null_model, searched(scores), tests=1 + sum(is_test(one, scores) for one in scores))

    @property
    def log10_searched(self) -> float:
        """The E-value of what every image would reach."""
        return math.log10(max(self.searched, 1))

    def of_scores(self, method: str, standardised: NDArray[np.float64]) -> NDArray[np.float64]:
        """E-values of standardised scores, each alone. ``(B,)`` both."""
        model = self.null_model.methods.get(method)
        if model is None:  # its first features came after the collection was calibrated
            return np.full(len(standardised), self.log10_searched)
        return self.log10_searched + model.score.log10_p(standardised)

    def of_finding(self, finding: Finding, evidence: Evidence, *, thumbnails: bool) -> float:
        """E-value of a geometry, alone."""
        if thumbnails:  # only a few candidates are compared by their thumbnails
            compared = math.log10(max(1, min(THUMBNAILS, self.searched)))
            return compared + self._of_evidence(self.null_model.thumbnails, evidence)
        model = self.null_model.methods.get(finding.method.name)
        if model is None or model.geometry is None:
            return self.log10_searched
        return self.log10_searched + self._of_evidence(model.geometry, evidence)

    def of_agreement(self, agreement: float | None) -> float:
        """Chance that what has a part in common looks alike as a whole; 0 where it does not.

        What looks alike in half of the overlap or less may just as well be a common part, a logo on two cartons.
        """
        if agreement is None or agreement <= LOOKS_ALIKE:
            return 0.0
        reached, half = self.null_model.agreement.log10_p(logit(np.array([agreement, LOOKS_ALIKE]))).tolist()
        return float(reached - half)

    def combine(self, best: float) -> float:
        """E-value of an image whose best test has this one."""
        return max(_LEAST, min(self.log10_searched, best + math.log10(self.tests)))

    def _of_evidence(self, tail: Tail, evidence: Evidence) -> float:
        chance = float(tail.log10_p(np.array([-evidence.log10_chance]))[0])
        return chance + self.of_agreement(evidence.agreement)


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """E-values of all images of one search, as logarithms to base 10, and what they follow from.

    Attributes:
        calibration: Of this search.
        scores: Of each method.
        verified: Image id -> what verification found, of the candidates.
        log10_evalues: Image id -> all tests combined; without the query image.
        strength: Image id -> sum of its standardised scores.
        alone: Method -> ``(B,)``, each score alone, in the rows of ``Scores``.
        best: Image id -> the finding with the smallest E-value; images without geometry are left out.
    """

    calibration: Calibration
    scores: Sequence[Scores]
    verified: Mapping[str, Verified]
    log10_evalues: Mapping[str, float]
    strength: Mapping[str, float]
    alone: Mapping[str, NDArray[np.float64]]
    best: Mapping[str, Finding]

    def log10_evalue(self, image_id: str) -> float:
        """Of one image; of an image that no test supports, that of every image."""
        return self.log10_evalues.get(image_id, self.calibration.log10_searched)


def calibrate(
    calibration: Calibration, scores: Sequence[Scores], verified: Mapping[str, Verified], exclude: str
) -> Calibrated:
    """The E-value of each image that was scored.

    Args:
        calibration: Of this search.
        scores: Of each method.
        verified: What verification found about the candidates.
        exclude: Id of the image that is searched with; empty for any other query.
    """
    alone = {one.method.name: calibration.of_scores(one.method.name, one.standard) for one in scores}
    least: dict[str, float] = {}
    for one in scores:
        if is_test(one, scores):
            # Without a common geometry many matches alone are no match.
            floor = 0.0 if one.method.verifier else -math.inf
            for image_id, value in zip(one.rows, alone[one.method.name].tolist(), strict=True):
                least[image_id] = min(least.get(image_id, math.inf), max(floor, value))
    best: dict[str, Finding] = {}
    for image_id, found in verified.items():
        tests = [
            (calibration.of_finding(finding, finding.evidence, thumbnails=finding is found.thumbnails), finding)
            for finding in found.findings
            if finding.evidence
        ]
        if tests:
            value, best[image_id] = min(tests, key=lambda test: test[0])
            least[image_id] = min(least.get(image_id, math.inf), value)
        if found.is_same:
            least[image_id] = -math.inf
    least.pop(exclude, None)
    return Calibrated(
        calibration,
        scores,
        verified,
        log10_evalues={image_id: calibration.combine(value) for image_id, value in least.items()},
        strength={image_id: sum(one.standard_of(image_id) for one in scores) for image_id in least},
        alone=alone,
        best=best,
    )


def is_test(scores: Scores, every: Sequence[Scores]) -> bool:
    """Whether the score of a method is evidence by itself.

    Matches of keypoints are counted to find candidates; what they are worth, geometry says. Where all methods have
    keypoints, their scores still order what no geometry supports.
    """
    return scores.method.verifier is None or all(other.method.verifier for other in every)
