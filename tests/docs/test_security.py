"""SECURITY.md names tests that are there, for every threat."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", TEXT, re.M)[1:]  # the first names the columns


def test_there_are_threats() -> None:
    assert len(ROWS) >= 15
    assert len({threat for threat, _, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("threat", "answer", "tests"), ROWS, ids=[threat[:40] for threat, _, _ in ROWS])
def test_every_threat_names_files_of_tests(threat: str, answer: str, tests: str) -> None:
    names = re.findall(r"`([^`]+)`", tests)
    assert names, threat
    assert tests == ", ".join(f"`{name}`" for name in names), "nothing but names"
    for name in names:
        assert re.search(r"^(async )?def test_", (ROOT / name).read_text(encoding="utf-8"), re.M), name


def test_every_file_it_names_is_there() -> None:
    for name in re.findall(r"`((?:tests|tools|docs|src)/[^`]*)`", TEXT):
        assert (ROOT / name).exists(), name
