import json
from dataclasses import replace

import pytest

from imagefinder.core.results import DuplicateGroup, DuplicatePair, DuplicateReport, Evidence
from imagefinder.dedup import report
from imagefinder.dedup.report import KeptReport, from_bytes, to_bytes

PAIR = DuplicatePair("a", "ä", "edited copy", agreement=0.5, evidence=None)
REPORT = DuplicateReport((DuplicateGroup("identical", ("a", "ä"), (PAIR,)),), 2, 1, 1, ("sift",), {"total": 0.1})
KEPT = to_bytes(REPORT, state={"images": 2}, computed_at="2026-01-01T00:00:00Z")


def test_round_trip():
    assert from_bytes(KEPT) == KeptReport("2026-01-01T00:00:00Z", {"images": 2}, REPORT)


@pytest.mark.parametrize(("former", "word"), [("closer look", "thumbnails"), ("frame", "whole image")])
def test_the_words_of_version_0_1_are_read(former, word):
    matrix, outline = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), ((0.0, 0.0),) * 4
    evidence = Evidence(9, 12, "affine", matrix, False, outline, outline, 1.0, 0.5, found_by=word)
    group = DuplicateGroup("edited copies", ("a", "ä"), (replace(PAIR, evidence=evidence),))
    kept = replace(REPORT, groups=(group,))
    content = json.loads(to_bytes(kept, state={}, computed_at="2026-01-01T00:00:00Z"))
    content["report"]["groups"][0]["pairs"][0]["evidence"]["found_by"] = former
    del content["checksum"]
    read = from_bytes(json.dumps({"checksum": report._checksum(content), **content}).encode())
    assert read == KeptReport("2026-01-01T00:00:00Z", {}, kept)


def test_a_report_without_spare_files_is_computed_again_but_not_damaged():
    content = json.loads(KEPT)
    del content["checksum"], content["report"]["groups"][0]["spare"]
    former = json.dumps({"checksum": report._checksum(content), **content}).encode()
    assert (from_bytes(former), report.is_intact(former), report.is_intact(KEPT)) == (None, True, True)
    assert not report.is_intact(former.replace(b'"edited copy"', b'"identical"'))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        b"{}",
        KEPT[:-1],
        KEPT.replace(b'"a"', b'"b"'),
        KEPT.replace("ä".encode(), "ö".encode()),
        b'{"checksum": 1, ' + KEPT.split(b", ", 1)[1],
    ],
)
def test_damaged_data_are_rejected(data):
    assert data != KEPT
    assert from_bytes(data) is None
