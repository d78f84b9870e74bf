"""Documents use standard English and the vocabulary of the field (docs/decisions/0016-words.md)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXPLAINS_OLD_WORDS = {"CHANGELOG.md", "docs/decisions/0016-words.md"}
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    if path.relative_to(ROOT).as_posix() not in EXPLAINS_OLD_WORDS
    and not path.read_text(encoding="utf-8").startswith("<!-- Written by docs/generate.py")
)
PHRASES = (
    "or: nothing here shows this",
    "proposes candidates first",
    "costs itself",
    "on a telephone",
    "endings of their names",
    "no valid utf-8",
    "stand still",
    "in passing",
    "anew",
    "said at once",
    "if nothing is said",
    "as often as needed",
    "went away",
    "your word that",
    "bears the name",
    "makes again",
    "no hit of itself",
    "knows itself",
    "shall index",
    "that never was",
    "what chance does",
    "passed over",
    "no picture of a known format",
    "so many by chance",
    "by chance once in",
    "shall be searched",
    "closer look",
    "mended",
    "likewise",
    "speaks for",
    "taken over",
)
GENERATED = re.compile(r"<!-- (results|measured|packages): written.*?<!-- end of \1 -->", re.S)
EXAMPLES = re.compile(
    r"^```console\n.*?^```$", re.S | re.M
)  # what the program prints is not a matter of documents


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_home_made_phrase_is_left(page: Path) -> None:
    text = EXAMPLES.sub("", GENERATED.sub("", page.read_text(encoding="utf-8")))
    words = " ".join(text.lower().split())
    assert [phrase for phrase in PHRASES if re.search(rf"\b{re.escape(phrase)}\b", words)] == []
