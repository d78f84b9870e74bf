"""Are edited copies told apart from other shots of the same thing and from other documents of the same layout?

The labelled pairs of the dataset ``pairs`` (``pairs.json``: ``a``, ``b``, ``label``, ``kind``). For each label
and kind, the number of pairs, and how many of them are called the same image (``identical``, ``edited copy``,
``part of`` or ``contains``):

* ``relation``: by ``Collection.compare`` with sift;
* ``copy_check``: the same, where ``verification.copy_check`` may overrule it. Answers do not use that check yet.

Both halves of a pair are read in full; ``cpu_seconds_per_pair`` is the processor time of the check alone.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import imagefinder
from benchmarks.contract import write
from imagefinder.core.results import Comparison
from imagefinder.core.settings import Settings
from imagefinder.verification.copy_check import is_copy, measure
from imagefinder.verification.registration import register

PAIRS = Path(os.environ.get("BENCH_DATASETS", Path(__file__).parents[2] / "shared" / "data")) / "pairs"
SAME = {"identical", "edited copy", "part of", "contains"}


def main() -> None:
    if not (PAIRS / "pairs.json").is_file():
        print(f"skipped: there is no {PAIRS / 'pairs.json'}; set BENCH_DATASETS")
        return
    rows: Counter[tuple[str, str, str]] = Counter()
    seconds = 0.0
    pairs = json.loads((PAIRS / "pairs.json").read_text())
    with imagefinder.open(settings=Settings(store="memory")) as collection:
        for pair in pairs:
            images = [collection.pixels(PAIRS / pair[side]) for side in "ab"]
            found = collection.compare(PAIRS / pair["a"], PAIRS / pair["b"])
            begin = time.process_time()
            checked = _checked(found, images)
            seconds += time.process_time() - begin
            key = pair["label"], pair["kind"]
            rows[*key, "pairs"] += 1
            rows[*key, "relation"] += found.relation in SAME
            rows[*key, "copy_check"] += checked
    write("copies", {**_tables(rows), "cpu_seconds_per_pair": round(seconds / len(pairs), 3)})


def _checked(found: Comparison, images: list[Any]) -> bool:
    """Whether a pair is called the same image after the check."""
    if found.relation == "identical" or found.evidence is None:
        return found.relation in SAME
    sides = [(image, (image.shape[1], image.shape[0])) for image in images]
    pair = register(sides[0], sides[1], np.array(found.evidence.transform))
    if pair is None:
        return found.relation in SAME
    return is_copy(measure(pair), found.relation, found.evidence.inliers)


def _tables(rows: Counter[tuple[str, str, str]]) -> dict[str, Any]:
    labels: dict[str, Counter[str]] = {}
    kinds: dict[str, dict[str, int]] = {}
    for (label, kind, column), count in sorted(rows.items()):
        labels.setdefault(label, Counter())[column] += count
        kinds.setdefault(f"{label}: {kind}", {})[column] = count
    return {"by_label": {label: dict(counts) for label, counts in labels.items()}, "by_kind": kinds}
