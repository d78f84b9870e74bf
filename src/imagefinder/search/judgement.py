"""From scores and evidence to E-values and decisions.

Each thing that may speak for an image is a test with its own E-value: the score of each method, and its geometry,
by a method's own keypoints or by a closer look. Of several tests the best counts, times their number (Bonferroni):
that holds however they depend on one another. If both pictures look alike where one lies on the other, a chance
geometry would have to look alike by chance, too, so that probability multiplies the geometry's.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Tail
from imagefinder.core.results import LOOKS_ALIKE, Decision, Evidence, Hit, MethodScore, Relation
from imagefinder.search import ranking
from imagefinder.search.background import CLOSER, Background, logit
from imagefinder.search.evidence import moved
from imagefinder.search.examination import Found
from imagefinder.search.question import Asked
from imagefinder.search.scoring import Scores, counts, searched

MATCH = 0.01
"""E-values up to this are matches: of queries that nothing in the collection matches, about 1 in 100 gets one."""

POSSIBLE = 1.0
"""E-values up to this are possible: such a query gets about one."""

_LEAST = -300.0
"""Logarithms of smaller E-values are no longer numbers."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges the hits of one query. All E-values are logarithms to base 10.

    Attributes:
        background: Of the collection.
        searched: How many images were compared.
        tests: How many things may speak for an image.
    """

    background: Background
    searched: int
    tests: int

    def of_scores(self, method: str, standardised: NDArray[np.float64]) -> NDArray[np.float64]:
        """E-values of standardised scores, each alone."""
        known = self.background.methods.get(method)
        if known is None:  # its first features came after the collection was learned
            return np.full(len(standardised), self._most)
        return self._most + known.score.log10_p(standardised)

    def of_geometry(self, method: str, evidence: Evidence) -> float:
        """E-value of a geometry by the method's own keypoints."""
        known = self.background.methods.get(method)
        if known is None or known.geometry is None:
            return self._most
        return self._most + self._of_evidence(known.geometry, evidence)

    def of_closer_look(self, evidence: Evidence) -> float:
        """E-value of a geometry that a closer look found; only a few candidates get one."""
        looked_at = math.log10(max(1, min(CLOSER, self.searched)))
        return looked_at + self._of_evidence(self.background.closer, evidence)

    def of_agreement(self, agreement: float | None) -> float:
        """How often what has a part in common looks alike as a whole; 0 where it does not.

        What looks alike in half of the overlap or less may just as well be a common part, a logo on two cartons.
        """
        if agreement is None or agreement <= LOOKS_ALIKE:
            return 0.0
        reached, half = self.background.agreement.log10_p(logit(np.array([agreement, LOOKS_ALIKE]))).tolist()
        return float(reached - half)

    def together(self, best: float) -> float:
        """E-value of an image whose best test has this one."""
        return max(_LEAST, min(self._most, best + math.log10(self.tests)))

    def decide(self, expected: float, evidence: Evidence | None) -> Decision:
        """What an E-value says.

        A geometry that placing matches at random would hardly ever give, in any image of the collection, is never
        nothing: in a collection with many pictures of one scene it is no rarity, and still something to look at.
        """
        if expected <= math.log10(MATCH):
            return "match"
        is_no_chance = evidence is not None and self._most + evidence.log10_chance <= math.log10(MATCH)
        # Of a single image everything is expected once.
        is_rare = expected <= math.log10(POSSIBLE) and expected < self._most
        return "possible" if is_rare or is_no_chance else "none"

    def _of_evidence(self, tail: Tail, evidence: Evidence) -> float:
        chance = float(tail.log10_p(np.array([-evidence.log10_chance]))[0])
        return chance + self.of_agreement(evidence.agreement)

    @property
    def _most(self) -> float:
        """Of what every image would reach."""
        return math.log10(max(self.searched, 1))


def judge_of(background: Background, scored: Sequence[Scores]) -> Judge:
    """The judge of a query that all these methods have scored, and whose best candidates were looked at."""
    return Judge(background, searched(scored), tests=1 + sum(counts(scores, scored) for scores in scored))


def by_score(scores: Scores, asked: Asked, background: Background | None, k: int) -> tuple[Hit, ...]:
    """The ``k`` best in the plain order of one method, with E-values where the background is known."""
    ids = list(scores.rows)
    # One more than wanted: a query by id finds itself and is left out.
    ranked = [pair for pair in ranking.best(ids, scores.values, k + 1) if pair[0] != asked.id][:k]
    if background is None:
        return tuple(Hit(rank, image_id, score) for rank, (image_id, score) in enumerate(ranked, 1))
    judge = Judge(background, searched([scores]), tests=1)
    standard = np.array([scores.standard_of(image_id) for image_id, _ in ranked])
    expected = [judge.together(value) for value in judge.of_scores(scores.method.name, standard).tolist()]
    return tuple(
        Hit(rank, image_id, score, evalue=10.0**e, decision=judge.decide(e, None))
        for rank, ((image_id, score), e) in enumerate(zip(ranked, expected, strict=True), 1)
    )


def by_evidence(
    scored: Sequence[Scores],
    asked: Asked,
    found: Mapping[str, Found],
    judge: Judge,
    relate: Callable[[Evidence | None, Decision, bool], Relation],
    *,
    k: int | None = None,
) -> list[Hit]:
    """The ``k`` images with the smallest E-values, or all; equal ones by their scores, then by id."""
    alone = {scores.method.name: judge.of_scores(scores.method.name, scores.standard) for scores in scored}
    best: dict[str, float] = {}
    for scores in scored:
        if counts(scores, scored):
            # Without a common geometry many matches are no match yet.
            least = 0.0 if scores.method.verifier else -math.inf
            for image_id, expected in zip(scores.rows, alone[scores.method.name].tolist(), strict=True):
                best[image_id] = min(best.get(image_id, math.inf), max(least, expected))
    evidence: dict[str, Evidence] = {}
    for image_id, seen in found.items():
        tests = [(judge.of_geometry(name, one), one) for name, one in seen.keypoints.items()]
        if seen.closer:
            tests.append((judge.of_closer_look(seen.closer), seen.closer))
        if tests:
            expected, evidence[image_id] = min(tests, key=lambda test: test[0])
            best[image_id] = min(best.get(image_id, math.inf), expected)
        if seen.same:
            best[image_id] = -math.inf
    best.pop(asked.id, None)
    together = {image_id: judge.together(expected) for image_id, expected in best.items()}
    strength = {image_id: sum(scores.standard_of(image_id) for scores in scored) for image_id in together}
    # Of many images few are asked for: only these become hits.
    ranked = heapq.nsmallest(
        len(together) if k is None else k,
        together,
        key=lambda image_id: (together[image_id], -strength[image_id], image_id),
    )
    hits = []
    for rank, image_id in enumerate(ranked, 1):
        each = {
            scores.method.name: MethodScore(
                float(scores.values[row]), 10.0 ** float(alone[scores.method.name][row])
            )
            for scores in scored
            if (row := scores.rows.get(image_id)) is not None
        }
        one, expected = evidence.get(image_id), together[image_id]
        decision = judge.decide(expected, one)
        is_same = image_id in found and found[image_id].same
        hits.append(
            Hit(
                rank=rank,
                id=image_id,
                score=each[scored[0].method.name].score if len(scored) == 1 else -expected,
                evidence=one and moved(one, asked.corner),
                evalue=10.0**expected,
                decision=decision,
                relation=relate(one, decision, is_same),
                methods=each,
            )
        )
    return hits
