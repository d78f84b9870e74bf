import pytest

from imagefinder.core.results import DuplicateGroup, DuplicatePair, DuplicateReport
from imagefinder.dedup.report import KeptReport, from_bytes, to_bytes

PAIR = DuplicatePair("a", "ä", "edited copy", agreement=0.5, evidence=None)
REPORT = DuplicateReport((DuplicateGroup("identical", ("a", "ä"), (PAIR,)),), 2, 1, 1, ("sift",), {"total": 0.1})
KEPT = to_bytes(REPORT, state={"images": 2}, computed_at="2026-01-01T00:00:00Z")


def test_what_was_written_is_read():
    assert from_bytes(KEPT) == KeptReport("2026-01-01T00:00:00Z", {"images": 2}, REPORT)


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
def test_what_was_damaged_is_not(data):
    assert data != KEPT
    assert from_bytes(data) is None
