"""Are edited copies distinguished from other shots of a thing and other documents of a layout?

The labelled pairs of the dataset ``pairs`` (``pairs.json``: ``a``, ``b``, ``label``, ``kind``), as users compare
them:

* ``compare``: the relation that ``Collection.compare`` with sift gives to (a, b), by label and kind;
* ``mirrored_answers``: number of pairs for which the relation of (b, a) is its counterpart;
* ``duplicates``: the relation that ``Collection.duplicates`` gives to both files in a collection of their own, by
  label; ``proposed``: pairs of which one image is proposed for removal.

``cpu_seconds_per_check`` is the median processor time of the copy check, for photographs and for documents.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections import Counter
from pathlib import Path

import imagefinder
from benchmarks.contract import write
from imagefinder.core.features import RgbImage
from imagefinder.core.results import Comparison, DuplicateReport
from imagefinder.core.settings import Settings
from imagefinder.search.copies import Side, settle
from imagefinder.verification.copy_check import is_document
from imagefinder.verification.relation import relation_of_pair

PAIRS = Path(os.environ.get("BENCH_DATASETS", Path(__file__).parents[2] / "shared" / "data")) / "pairs"
COUNTERPARTS = {"part of": "contains", "contains": "part of"}
MEMORY = Settings(store="memory")


def main() -> None:
    if not (PAIRS / "pairs.json").is_file():
        print(f"skipped: there is no {PAIRS / 'pairs.json'}; set BENCH_DATASETS")
        return
    compared: dict[str, Counter[str]] = {}
    duplicates: dict[str, Counter[str]] = {}
    seconds: dict[str, list[float]] = {"photographs": [], "documents": []}
    mirrored = 0
    pairs = json.loads((PAIRS / "pairs.json").read_text())
    with imagefinder.open(settings=MEMORY) as collection:
        for pair in pairs:
            a, b = PAIRS / pair["a"], PAIRS / pair["b"]
            found, back = collection.compare(a, b), collection.compare(b, a)
            relation = found.relation or "none"
            mirrored += COUNTERPARTS.get(relation, relation) == (back.relation or "none")
            compared.setdefault(f"{pair['label']}: {pair['kind']}", Counter())[relation] += 1
            duplicates.setdefault(pair["label"], Counter()).update(_in_a_collection(a, b))
            _time(found, [collection.pixels(path) for path in (a, b)], seconds)
    write(
        "copies",
        {
            "compare": {kind: dict(counts) for kind, counts in compared.items()},
            "mirrored_answers": mirrored,
            "duplicates": {label: dict(counts) for label, counts in duplicates.items()},
            "cpu_seconds_per_check": {kind: round(statistics.median(some), 3) for kind, some in seconds.items()},
        },
    )


def _in_a_collection(a: Path, b: Path) -> list[str]:
    with imagefinder.open(settings=MEMORY) as collection:
        collection.add(a, b, methods=["sift"])
        report: DuplicateReport = collection.duplicates()
    answers = [pair.relation for group in report.groups for pair in group.pairs]
    relation: str = answers[0] if answers else "identical" if report.groups else "none"
    return [relation, *(["proposed"] if any(group.spare for group in report.groups) else [])]


def _time(found: Comparison, pixels: list[RgbImage], seconds: dict[str, list[float]]) -> None:
    if found.evidence is None or found.evidence.copy_distance is None:
        return
    one, other = map(_side, pixels)
    begin = time.process_time()
    settle(relation_of_pair(found.evidence), found.evidence, one, other)
    kind = "documents" if all(map(is_document, pixels)) else "photographs"
    seconds[kind].append(time.process_time() - begin)


def _side(image: RgbImage) -> Side:
    return Side(image, (image.shape[1], image.shape[0]), lambda: image)
