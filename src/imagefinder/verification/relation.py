"""Classification of the relation between two images."""

from __future__ import annotations

from imagefinder.core.results import LOOKS_ALIKE, Decision, Evidence, Relation

CLEARLY = 0.7
"""Minimum agreement, instead of ``LOOKS_ALIKE``, if fewer than ``STRONG`` inliers support the geometry: product
photos of two pairs of trousers in the same pose reach 0.56 with five inliers."""

COPIES: frozenset[Relation | None] = frozenset({"identical", "edited copy", "part of", "contains"})
"""Relations of two versions of one picture."""

STRONG = 25
"""Number of inliers that is sufficient evidence of a relation. With repetitive patterns, chance reaches 5 to 10,
rarely 17 (docs/concepts/verification.md)."""


def relation(evidence: Evidence | None, decision: Decision, same: bool) -> Relation:
    """The relation of a query to a hit, before the copy check.

    Args:
        evidence: Geometric evidence, with its agreement; ``None`` if there is none.
        decision: Decision on the hit.
        same: Whether the images are identical.
    """
    if same:
        return "identical"
    if evidence is None:
        return "similar"
    # If even wrong images look alike (fruit on white), agreement alone does not make a copy; the decision accounts
    # for it.
    if decision == "match" and evidence.agreement is not None and evidence.agreement >= LOOKS_ALIKE:
        return evidence.placement
    return "similar" if decision == "none" else "same scene"


def relation_of_pair(evidence: Evidence | None) -> Relation | None:
    """The relation of two images without a null model, before the copy check; ``None``: too weak."""
    if evidence is None:
        return None
    if looks_alike(evidence):
        return evidence.placement
    return "same scene" if evidence.inliers >= STRONG else None


def looks_alike(evidence: Evidence | None) -> bool:
    """Whether evidence shows that two images are versions of the same image, without a null model."""
    if evidence is None or evidence.agreement is None:
        return False
    return evidence.agreement >= (LOOKS_ALIKE if evidence.inliers >= STRONG else CLEARLY)
