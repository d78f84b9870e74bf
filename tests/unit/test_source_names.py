"""Names and words of the source: unique public class names, and no words of our own where the field has a term."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "imagefinder"

SHARED_NAMES: dict[str, str] = {}
"""Class name -> why two public classes may share it."""

WORDS: dict[str, str] = {
    r"ask(s|ed|ing)?": "request, call, search with",
    r"(?<!\.)tell|tells|told|telling": "report, distinguish",
    r"mend(s|ed|ing)?": "repair",
    r"anew": "again",
    r"likewise": "repeat the phrase",
    r"closer look|looked at closely": "thumbnails, spatial verification",
    r"so many": "number of, at most",
    r"(speak|say)s? for": "support",
    r"judg(e|es|ed|ing|ements?)": "decide, decision",
    r"(?<!scikit-)(?<!scikit_)(?<!residual )(?-i:learn(s|ed|t|ing)?)": "calibrate, fit, train",
    r"(?<!in )questions?(?! marks?)": "query",
    r"partners?": "nearest neighbour, candidate",
    r"(take|takes|took|taking) over": "import",
    r"(?<!on )demand(s|ed)?": "require",
    r"laid|lays": "overlay, register",
    r"held(?![ -]out)|holds": "store, contain, keep in memory",
    r"strangers?|anybody|somebody|nobody|someone|whoever": "untrusted users, clients",
    r"beside|thereby|whereby": "next to, in addition to",
    r"(?<!there )(is|are|was|were) no (?!longer|more\b|less\b|closer)": "is not a",
    r"shall|shalt": "must, should, is to",
    r"of its own|of their own|of your own": "separate",
}
"""Word (regular expression) -> the terms to use instead."""

EXEMPT = re.compile(r'"closer look"|lock\b|\bleases?\b')
"""Lines that are exempt: a value in data of version 0.1, and locks and leases, which are held."""

OPENINGS = re.compile(r"(See|As|Of|So|Likewise|Whose|Says|Gives|Tells|Asks|What (is|was|it|a|the|there))\b")
"""Openings of docstrings that are not a sentence or noun phrase about the thing itself."""

_WORD = re.compile("|".join(rf"(?P<w{number}>\b(?:{word})\b)" for number, word in enumerate(WORDS)), re.IGNORECASE)


def sources(*suffixes: str) -> Iterator[Path]:
    for path in sorted(SOURCE.rglob("*")):
        if path.suffix in suffixes:
            yield path


def public_classes() -> dict[str, list[str]]:
    """Name of each public class -> the places that define it."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sources(".py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(f"{path.relative_to(SOURCE)}:{node.lineno}")
    return found


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each string that stands alone: docstrings, and those of attributes and constants."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.lineno, node.value.value.strip()


def faults(text: str) -> list[str]:
    """The words to replace in a text, with what to use instead."""
    terms = list(WORDS.values())
    return [
        f"{found.group(0)!r} (use: {terms[int((found.lastgroup or 'w0')[1:])]})" for found in _WORD.finditer(text)
    ]


def test_no_two_public_classes_share_a_name() -> None:
    shared = {name: places for name, places in public_classes().items() if len(places) > 1}
    assert {name: places for name, places in shared.items() if name not in SHARED_NAMES} == {}
    assert SHARED_NAMES.keys() <= shared.keys(), "an exception that is no longer needed"


def test_the_source_uses_standard_terms() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{number}: {fault}"
        for path in sources(".py", ".pyi", ".js", ".html", ".hpp", ".cpp")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if not EXEMPT.search(line)
        for fault in faults(line)
    ]
    assert found == []


def test_docstrings_begin_with_the_thing_itself() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {text[:80]}"
        for path in sources(".py")
        for line, text in docstrings(path)
        if OPENINGS.match(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("asked for", 1),
        ("the task unmasked a basket", 0),
        ("Likewise, so many of them", 2),
        ("scikit-learn", 0),
        ("it learned", 1),
        ("the image is no longer there", 0),
        ("there is no fallback", 0),
        ("this is no image", 1),
        ("tell_all", 0),
        ("threshold", 0),
    ],
)
def test_words_are_recognised(text: str, count: int) -> None:
    assert len(faults(text)) == count
