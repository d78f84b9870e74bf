from dataclasses import replace

import pytest

from imagefinder.core.results import Evidence
from imagefinder.verification.relation import relation

FRAME = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
MATRIX = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
EVIDENCE = Evidence(40, 90, "similarity", MATRIX, False, FRAME, FRAME, 1.0, 1.0, agreement=0.9)


@pytest.mark.parametrize(
    ("overlaps", "agreement", "decision", "name"),
    [
        ((1.0, 1.0), 0.9, "match", "edited copy"),
        ((0.85, 0.95), 0.9, "match", "edited copy"),
        ((1.0, 0.5), 0.9, "match", "part of"),
        ((0.4, 1.0), 0.9, "match", "contains"),
        ((0.6, 0.6), 0.9, "match", "same scene"),
        ((1.0, 1.0), 0.2, "match", "same scene"),
        ((1.0, 1.0), None, "match", "same scene"),
        ((1.0, 1.0), 0.9, "possible", "same scene"),
        ((1.0, 1.0), 0.2, "possible", "same scene"),
        ((1.0, 1.0), 0.9, "none", "similar"),
    ],
)
def test_overlap_and_agreement_determine_the_relation(overlaps, agreement, decision, name):
    evidence = replace(EVIDENCE, query_overlap=overlaps[0], candidate_overlap=overlaps[1], agreement=agreement)
    assert relation(evidence, decision, False) == name


def test_identical_and_similar():
    assert relation(EVIDENCE, "match", True) == "identical"
    assert relation(None, "match", True) == "identical"
    assert relation(None, "match", False) == "similar"
