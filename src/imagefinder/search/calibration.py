"""Converts scores and geometry to E-values: the expected number of images that do as well by chance.

Each kind of evidence for an image is a statistical test with its own E-value: the score of each method, and the
geometry, by the keypoints of a method or of thumbnails. The best test counts, multiplied by the number of tests
(Bonferroni correction), which is valid whatever their dependence.

A wrong image gets a geometry from matches that chance placed, or from a part that it has in common with the query.
The E-value of a geometry is the sum of both:

* images compared x chance probability x probability that decoys look as much alike;
* images with a common part x probability that such images have as strong a geometry, agree as much, and are as
  similar.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from imagefinder.calibration import common_parts
from imagefinder.core.results import LOOKS_ALIKE, Evidence
from imagefinder.search.geometry import Finding
from imagefinder.search.null_model import NullModel, logit
from imagefinder.search.retrieval import Scores, align, is_test
from imagefinder.search.verification import THUMBNAILS, Verified

_LEAST = -300.0
"""Smallest exponent of ten that a float represents."""

_LN10 = math.log(10)


@dataclass(frozen=True)
class Calibration:
    """Converts the scores and geometries of one search to E-values, as log10.

    Attributes:
        null_model: Null model of the collection.
        searched: Number of images searched.
        tests: Number of tests per image.
    """

    null_model: NullModel
    searched: int
    tests: int

    @classmethod
    def of_search(cls, null_model: NullModel, scores: Sequence[Scores], number: int) -> Calibration:
        """The calibration of a search of ``number`` images, whose best candidates are verified."""
        methods = [one.method for one in scores]
        return cls(null_model, number, tests=1 + sum(is_test(one.method, methods) for one in scores))

    @property
    def log10_searched(self) -> float:
        """Log10 of the largest possible E-value, the number of images searched."""
        return math.log10(max(self.searched, 1))

    def of_scores(self, method: str, standardised: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log10 E-values, ``(B,)``, of standardised scores, ``(B,)``, each as a single test."""
        model = self.null_model.methods.get(method)
        if model is None:  # the method got its first features after the calibration
            return np.full(len(standardised), self.log10_searched)
        return self.log10_searched + model.score.log10_p(standardised)

    def of_evidence(self, evidence: Evidence, similar: float = 0.0) -> float:
        """Log10 E-value of a geometry as a single test, between images of this ``similarity``."""
        by_chance, by_common_part = self.parts(evidence, similar)
        return float(np.logaddexp(by_chance * _LN10, by_common_part * _LN10)) / _LN10

    def parts(self, evidence: Evidence, similar: float = 0.0) -> tuple[float, float]:
        """Log10 of the number of images with such a geometry from chance matches, and from a common part."""
        # Only a few candidates are compared by their thumbnails.
        compared = min(THUMBNAILS, self.searched) if evidence.found_by == "thumbnails" else self.searched
        by_chance = math.log10(max(compared, 1)) + evidence.log10_chance + self.of_agreement(evidence.agreement)
        most = self._most_agreement
        value = common_parts.witness(evidence.log10_chance, evidence.agreement, similar, most=most)
        rare = float(common_parts.TAIL.log10_p(np.array([value]))[0])
        return by_chance, math.log10(self.common_parts) + rare

    @cached_property
    def common_parts(self) -> float:
        """Expected number of wrong images that have a part in common with the query."""
        return self.null_model.common_parts(self.searched)

    @cached_property
    def _most_agreement(self) -> float:
        return 1.0 if self.null_model.agreement_counts else common_parts.NO_WITNESS

    def of_agreement(self, agreement: float | None) -> float:
        """Log10 of the probability that decoys which agree by one half look this much alike; 0 up to one half."""
        if agreement is None or agreement <= LOOKS_ALIKE:
            return 0.0
        reached, half = self.null_model.agreement.log10_p(logit(np.array([agreement, LOOKS_ALIKE]))).tolist()
        return float(reached - half)

    def combine(self, best: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log10 E-values of images, ``(B,)``, from those of their best tests, ``(B,)``."""
        return np.clip(best + math.log10(self.tests), _LEAST, self.log10_searched)


@dataclass(frozen=True, eq=False)
class Calibrated:
    """The E-values of all images of one search, as log10, and the evidence behind them.

    Attributes:
        calibration: Calibration of this search.
        scores: Scores by each method.
        verified: Image id -> result of the spatial verification, for the candidates.
        ids: Ids of the images with a test, without the query image.
        log10_evalues: ``(len(ids),)`` float64, log10 of the E-values from all tests.
        strength: ``(len(ids),)`` float64, sums of the standardised scores.
        alone: Method name -> ``(B,)`` float64, log10 E-value of each score as a single test, in the rows of
            ``Scores``.
        similar: Image id -> what its cosines add to the evidence of a geometry, for the candidates.
        best: Image id -> the geometry with the smallest E-value; images without a geometry are left out.
    """

    calibration: Calibration
    scores: Sequence[Scores]
    verified: Mapping[str, Verified]
    ids: Sequence[str]
    log10_evalues: NDArray[np.float64]
    strength: NDArray[np.float64]
    alone: Mapping[str, NDArray[np.float64]]
    similar: Mapping[str, float]
    best: Mapping[str, Finding]

    def log10_evalue(self, image_id: str) -> float:
        """Log10 E-value of an image; the largest possible one if no test supports the image."""
        row = self._rows.get(image_id)
        return self.calibration.log10_searched if row is None else float(self.log10_evalues[row])

    @cached_property
    def _rows(self) -> Mapping[str, int]:
        return dict(zip(self.ids, range(len(self.ids)), strict=True))


def calibrate(
    calibration: Calibration, scores: Sequence[Scores], verified: Mapping[str, Verified], exclude: str
) -> Calibrated:
    """Compute the E-value of each image that was scored.

    Args:
        calibration: Calibration of this search.
        scores: Scores by each method.
        verified: Image id -> result of the spatial verification.
        exclude: Id of a stored query image; empty for any other query.
    """
    alone = {one.method.name: calibration.of_scores(one.method.name, one.standard) for one in scores}
    methods = [one.method for one in scores]
    ids, rows = align(scores)
    strength, least = np.zeros(len(ids)), np.full(len(ids), np.inf)
    for one, row in zip(scores, rows, strict=True):
        strength += _at(one.standard, row, -np.inf)
        if is_test(one.method, methods):
            # Many matches without a common geometry are not a match.
            floor = 0.0 if one.method.verifier else -np.inf
            least = np.minimum(least, np.maximum(floor, _at(alone[one.method.name], row, np.inf)))
    similar = _similarities(calibration, scores, alone, verified)
    of_verified, best = _of_verified(calibration, verified, similar)
    if of_verified:
        places = {image_id: place for place, image_id in enumerate(ids) if image_id in of_verified}
        for image_id, value in of_verified.items():
            least[places[image_id]] = min(least[places[image_id]], value)
    tested = [place for place in np.flatnonzero(least < np.inf).tolist() if ids[place] != exclude]
    return Calibrated(
        calibration,
        scores,
        verified,
        ids=[ids[place] for place in tested],
        log10_evalues=calibration.combine(least[tested]),
        strength=strength[tested],
        alone=alone,
        similar=similar,
        best=best,
    )


def _at(values: NDArray[np.float64], rows: NDArray[np.int64], missing: float) -> NDArray[np.float64]:
    """The values of these rows; ``missing`` for row -1."""
    return np.append(values, missing)[rows]


def _similarities(
    calibration: Calibration,
    scores: Sequence[Scores],
    alone: Mapping[str, NDArray[np.float64]],
    ids: Iterable[str],
) -> dict[str, float]:
    """Image id -> what its smallest E-value of a cosine, times the number of cosines, adds to a geometry."""
    cosines = [one for one in scores if one.method.verifier is None]
    many = math.log10(max(1, len(cosines)))
    found = {}
    for image_id in ids:
        rows = [(one.method.name, one.rows.get(image_id)) for one in cosines]
        least = min((float(alone[name][row]) for name, row in rows if row is not None), default=math.inf)
        found[image_id] = common_parts.similarity(many + least, calibration.searched)
    return found


def _of_verified(
    calibration: Calibration, verified: Mapping[str, Verified], similar: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, Finding]]:
    """Log10 of the E-value of the best geometry of each image, and this geometry."""
    least, best = dict[str, float](), dict[str, Finding]()
    for image_id, found in verified.items():
        tests = [
            (calibration.of_evidence(finding.evidence, similar[image_id]), finding)
            for finding in found.findings
            if finding.evidence
        ]
        if tests:
            least[image_id], best[image_id] = min(tests, key=lambda test: test[0])
        if found.is_same:
            least[image_id] = -math.inf
    return least, best
