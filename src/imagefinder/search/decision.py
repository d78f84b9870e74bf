"""Decisions from E-values and geometry: match, possible match or no match; and the hits of a result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from imagefinder.core.results import Decision, Evidence, Hit, MethodScore, Point, Relation
from imagefinder.search.calibration import Calibrated, Calibration
from imagefinder.search.candidates import Candidate
from imagefinder.search.copies import ReadOriginal, Settled, Side, candidate_side, query_side, settle
from imagefinder.search.encoding import QueryImage
from imagefinder.search.ranking import Ranked
from imagefinder.search.retrieval import Scores
from imagefinder.verification.relation import COPIES, relation

MATCH = 0.01
"""Largest E-value of a match: about 1 in 100 queries without a match in the collection gets a false one."""

POSSIBLE = 1.0
"""Largest E-value of a possible match: a query without a match in the collection gets about one."""


CHECKED = 20
"""Number of best hits whose relations are checked; images further down are not called copies."""

NOT_CHECKED = f"only the first {CHECKED} hits are checked for copies"


def decide(calibration: Calibration, log10_evalue: float, evidence: Evidence | None) -> Decision:
    """The decision on an image.

    A geometry that matches placed at random would hardly ever produce, in any image of the collection, is always a
    possible match: if a collection has many images of one scene, such geometries are common but still relevant.
    """
    everything = calibration.log10_searched
    if log10_evalue <= math.log10(MATCH):
        return "match"
    is_not_random = evidence is not None and everything + evidence.log10_chance <= math.log10(MATCH)
    # With a single image, every value has an E-value of 1.
    is_rare = log10_evalue <= math.log10(POSSIBLE) and log10_evalue < everything
    return "possible" if is_rare or is_not_random else "none"


def hits_by_score(ranked: Ranked, scores: Scores, calibration: Calibration | None) -> tuple[Hit, ...]:
    """Hits in the order of the scores of one method, with E-values if a calibration is given."""
    if calibration is None:
        return tuple(Hit(rank, image_id, score) for rank, (image_id, score) in enumerate(ranked, 1))
    standard = np.array([scores.standard_of(image_id) for image_id, _ in ranked])
    expected = calibration.combine(calibration.of_scores(scores.method.name, standard)).tolist()
    return tuple(
        Hit(rank, image_id, score, evalue=10.0**value, decision=decide(calibration, value, None))
        for rank, ((image_id, score), value) in enumerate(zip(ranked, expected, strict=True), 1)
    )


def hits_by_evidence(
    ranked: Sequence[str],
    calibrated: Calibrated,
    image: QueryImage,
    read_original: ReadOriginal,
    *,
    threads: int = 1,
) -> tuple[Hit, ...]:
    """Hits in the order of their E-values, with decision, relation and evidence.

    Args:
        ranked: Ids of the hits, best first.
        calibrated: E-values and evidence of all images.
        image: The query image.
        read_original: Reads stored images in full resolution.
        threads: Number of hits whose relations are checked at the same time.
    """
    claims = [_claim(rank, image_id, calibrated) for rank, image_id in enumerate(ranked, 1)]
    side = query_side(image, read_original)

    def settled(claim: _Claim) -> Settled:
        return _settled(claim, side, read_original)

    # Most searches check a single hit, for which threads would only take time.
    if threads > 1 and sum(claim.is_checked for claim in claims) > 1:
        with ThreadPoolExecutor(threads) as pool:
            every = list(pool.map(settled, claims))
    else:
        every = list(map(settled, claims))
    return tuple(_hit(claim, one, calibrated, image.corner) for claim, one in zip(claims, every, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class _Claim:
    """A hit before the copy check.

    Attributes:
        rank: Rank of the hit, from 1.
        id: Id of the image.
        log10_evalue: Log10 of its E-value.
        decision: The decision.
        relation: What evidence and decision say.
        evidence: Geometric evidence; ``None`` if there is none.
        candidate: The image; ``None`` if it was not verified.
    """

    rank: int
    id: str
    log10_evalue: float
    decision: Decision
    relation: Relation
    evidence: Evidence | None
    candidate: Candidate | None

    @property
    def may_be_copy(self) -> bool:
        """Whether a copy check decides on the relation."""
        return bool(self.evidence and self.candidate) and self.decision == "match" and self.relation != "identical"

    @property
    def is_checked(self) -> bool:
        return self.may_be_copy and self.rank <= CHECKED


def _claim(rank: int, image_id: str, calibrated: Calibrated) -> _Claim:
    finding, expected = calibrated.best.get(image_id), calibrated.log10_evalue(image_id)
    evidence, verified = finding.evidence if finding else None, calibrated.verified.get(image_id)
    decision = decide(calibrated.calibration, expected, evidence)
    kind = relation(evidence, decision, verified is not None and verified.is_same)
    candidate = verified.candidate if verified else None
    return _Claim(rank, image_id, expected, decision, kind, evidence, candidate)


def _settled(claim: _Claim, query: Side, read_original: ReadOriginal) -> Settled:
    """The relation after the copy check, if the hit is checked."""
    if claim.is_checked and claim.evidence and claim.candidate:
        return settle(claim.relation, claim.evidence, query, candidate_side(claim.candidate, read_original))
    if claim.may_be_copy and claim.relation in COPIES:
        return Settled("same scene", claim.evidence, NOT_CHECKED)
    return Settled(claim.relation, claim.evidence)


def _hit(claim: _Claim, settled: Settled, calibrated: Calibrated, corner: Point) -> Hit:
    scores = calibrated.scores
    methods = {
        one.method.name: MethodScore(float(one.values[row]), 10.0 ** float(calibrated.alone[one.method.name][row]))
        for one in scores
        if (row := one.rows.get(claim.id)) is not None
    }
    return Hit(
        rank=claim.rank,
        id=claim.id,
        score=methods[scores[0].method.name].score if len(scores) == 1 else -claim.log10_evalue,
        evidence=settled.evidence and uncrop(settled.evidence, corner),
        evalue=10.0**claim.log10_evalue,
        decision=claim.decision,
        relation=settled.relation,
        methods=methods,
        note=settled.note,
    )


def uncrop(evidence: Evidence, corner: Point) -> Evidence:
    """Convert evidence about a region of the query to pixels of the whole image."""
    if corner == (0.0, 0.0):
        return evidence
    back = np.array([[1.0, 0.0, -corner[0]], [0.0, 1.0, -corner[1]], [0.0, 0.0, 1.0]])
    rows = (np.array(evidence.transform) @ back).tolist()
    a, b, c, d = ((x + corner[0], y + corner[1]) for x, y in evidence.query_outline)
    return replace(
        evidence, transform=(tuple(rows[0]), tuple(rows[1]), tuple(rows[2])), query_outline=(a, b, c, d)
    )
