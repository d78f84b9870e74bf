"""What kind of hit it is."""

from __future__ import annotations

from imagefinder.core.results import LOOKS_ALIKE, Decision, Evidence, Relation

CLEARLY = 0.7
"""What takes the place of ``LOOKS_ALIKE`` where fewer than ``STRONG`` inliers support the geometry, or none: two
pairs of trousers, laid on a sheet alike, reach 0.56 with five."""

STRONG = 25
"""Inliers that say by themselves that two images have something in common. Where patterns repeat chance reaches
5 to 10, seldom 17 (docs/concepts/verification.md)."""


def relation(evidence: Evidence | None, decision: Decision, same: bool) -> Relation:
    """Name what was found.

    Args:
        evidence: The geometry, if any, with the agreement.
        decision: Of the hit.
        same: Whether the bytes, or all the pixels, are equal.
    """
    if same:
        return "identical"
    if evidence is None:
        return "similar"
    # Where even wrong pictures look alike (fruit on white), agreement alone makes no copy: the decision knows.
    if decision == "match" and evidence.agreement is not None and evidence.agreement >= LOOKS_ALIKE:
        return evidence.placement
    return "similar" if decision == "none" else "same scene"


def relation_of_pair(evidence: Evidence | None) -> Relation | None:
    """Name what two images are to one another without a null model; ``None`` if the evidence is too weak."""
    if evidence is None:
        return None
    if looks_alike(evidence):
        return evidence.placement
    return "same scene" if evidence.inliers >= STRONG else None


def looks_alike(evidence: Evidence | None) -> bool:
    """Whether evidence shows that two images show one picture; without a null model."""
    if evidence is None or evidence.agreement is None:
        return False
    return evidence.agreement >= (LOOKS_ALIKE if evidence.inliers >= STRONG else CLEARLY)
