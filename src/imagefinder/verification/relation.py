"""What kind of hit it is."""

from __future__ import annotations

from imagefinder.core.results import LOOKS_ALIKE, Decision, Evidence, Relation


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
