"""Documents keep their shape: README and decisions are short, guides and decisions have their parts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
HOW_TO = re.compile(r"^\*\*A (method|search option|REST endpoint|CLI command).*?(?=^\*\*A |^## )", re.M | re.S)


def test_the_readme_is_at_most_120_lines() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_is_short_and_has_context_decision_and_consequences(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 80
    assert text.startswith(f"# {int(path.name[:4])}. ")
    parts = ["Context", "Decision", "Consequences"]
    assert [heading for heading in re.findall(r"^## (.+)$", text, re.M) if heading in parts] == parts


def test_contributing_shows_each_extension_in_at_most_ten_lines() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    parts = {found[1]: found[0] for found in HOW_TO.finditer(text)}
    assert set(parts) == {"method", "search option", "REST endpoint", "CLI command"}
    for part in parts.values():
        assert len(part.strip().splitlines()) <= 10
        assert re.search(r"\]\(src/|commit [0-9a-f]{7}", part)
