"""The words that name the 1,000 classes of ImageNet, from WordNet (``tools/imagenet_words.py``)."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from imagefinder.core.suggestions import similar

FILLERS = frozenset(
    (
        *("a", "an", "and", "at", "by", "for", "from", "in", "is", "of", "on", "the", "to", "with"),
        *("image", "photo", "photograph", "picture"),
    )
)
"""Words that a text may contain and that name nothing; in phrases that are known they count."""

_IRREGULAR = {
    "children": "child",
    "feet": "foot",
    "geese": "goose",
    "halves": "half",
    "knives": "knife",
    "leaves": "leaf",
    "loaves": "loaf",
    "men": "man",
    "mice": "mouse",
    "oxen": "ox",
    "people": "person",
    "scarves": "scarf",
    "shelves": "shelf",
    "teeth": "tooth",
    "wolves": "wolf",
    "women": "woman",
}
_APOSTROPHES = dict.fromkeys(map(ord, "'\u2019\u02bc"))
_ENDINGS = (("ies", "y"), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("oes", "o"))


@dataclass(frozen=True, slots=True)
class Phrase:
    """A known word or phrase of a text.

    Attributes:
        name: The word as the vocabulary has it.
        classes: Numbers of the classes that it names, ascending.
        parts: Its words, if it names only a kind of a class and all its words are known: a "coffee cup" is a kind
            of cup, and an image of coffee in a cup shows one.
    """

    name: str
    classes: tuple[int, ...]
    parts: tuple[Phrase, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadText:
    """A text, split into what is known and what is not.

    Attributes:
        phrases: The known words and phrases, in order.
        unknown: The other words, without fillers.
    """

    phrases: tuple[Phrase, ...]
    unknown: tuple[str, ...]


class WordTable:
    """Names of the classes, of what these are kinds of, and of what are kinds of them.

    Letter case, accents, spaces and hyphens do not matter, and plurals are recognised.

    Attributes:
        classes: Name of each class.
    """

    def __init__(self) -> None:
        """Read the table of this package."""
        file = resources.files("imagefinder.models") / "words.json"
        table = json.loads(file.read_text(encoding="utf-8"))
        self.classes: tuple[str, ...] = tuple(table["classes"])
        self._names: dict[str, str] = {}
        self._numbers: dict[str, set[int]] = {}
        self._narrower: set[str] = set()
        for kind in ("words", "narrower"):
            for name, numbers in table[kind].items():
                key = _key(name)
                if kind == "narrower" and key not in self._names:
                    self._narrower.add(key)
                self._names.setdefault(key, name)
                self._numbers.setdefault(key, set()).update(numbers)
        self._longest = max(len(_split(name)) for name in self._names.values())

    def __len__(self) -> int:
        """Number of known words and phrases."""
        return len(self._names)

    def names(self) -> list[str]:
        """All known words and phrases."""
        return list(self._names.values())

    def read(self, text: str) -> ReadText:
        """Find the known phrases of a text, the longest first from left to right."""
        words = _split(text)
        phrases: list[Phrase] = []
        unknown: list[str] = []
        at = 0
        while at < len(words):
            for length in range(min(self._longest, len(words) - at), 0, -1):
                if phrase := self._phrase(words[at : at + length]):
                    phrases.append(phrase)
                    at += length
                    break
            else:
                if words[at] not in FILLERS:
                    unknown.append(words[at])
                at += 1
        return ReadText(tuple(dict.fromkeys(phrases)), tuple(dict.fromkeys(unknown)))

    def near(self, text: str) -> list[str]:
        """The known words that are spelt most like a text."""
        return similar(text, self._names.values())

    def _phrase(self, words: list[str]) -> Phrase | None:
        for key in _keys(words):
            if key in self._names and (len(words) > 1 or key not in FILLERS):
                parts = (
                    [self._phrase([word]) for word in words] if len(words) > 1 and key in self._narrower else []
                )
                known = tuple(part for part in parts if part)
                numbers = tuple(sorted(self._numbers[key]))
                return Phrase(self._names[key], numbers, known if len(known) == len(parts) else ())
        return None


@cache
def vocabulary() -> WordTable:
    """The vocabulary, read once per process."""
    return WordTable()


def _split(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", text.translate(_APOSTROPHES)).casefold()
    return re.findall(r"[^\W_]+", "".join(c for c in plain if not unicodedata.combining(c)))


def _key(text: str) -> str:
    return "".join(_split(text))


def _keys(words: list[str]) -> Iterator[str]:
    """How the vocabulary may spell a phrase: as it is, with its last word in the singular, or in the plural."""
    *first, last = words
    head = "".join(first)
    yield head + last
    for singular in _singulars(last):
        yield head + singular
    yield f"{head}{last}s"


def _singulars(word: str) -> Iterator[str]:
    """Possible singulars of an English noun, likely ones first; not all of them are words."""
    if word in _IRREGULAR:
        yield _IRREGULAR[word]
    if word.endswith("men"):
        yield word[:-3] + "man"
    for ending, singular in _ENDINGS:
        if word.endswith(ending):
            yield word[: -len(ending)] + singular
    if word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        yield word[:-1]
