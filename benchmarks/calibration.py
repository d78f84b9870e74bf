"""How good are E-values, and what does calibration cost?

For each labelled dataset, one process indexes the gallery with ``sift`` and ``efficientnet-lite0``, calibrates it,
and searches with every query. The tail of common parts that is shipped (``imagefinder.calibration.common_parts``)
was fitted to these datasets; so the E-values of each are computed with a tail fitted without it.

Datasets with common parts differ: groceries have thin tails and many pairs, cars of one model thick tails and few.
So a dataset with n pairs counts n / (n + 200).

* right pairs called match: of the correct answers whose geometry rules out chance (images x chance probability at
  most 0.01), those with an E-value of at most 0.01;
* wrong hits per query with an E-value up to 1, 0.1 and 0.01, over all queries;
* mAP, and recall at 99 % precision;
* CPU seconds of indexing and of calibration.

Pairs in ``same_objects.json`` show the same heap, box or place although their labels differ; they count neither as
correct nor as wrong. With ``BENCH_FOLDER``, an interrupted run resumes; ``BENCH_SETS`` selects datasets, and
``BENCH_EVERY=3`` every third query.

The last line printed is the tail fitted to all datasets, for ``common_parts.py``.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DATASETS = Path(os.environ.get("BENCH_DATASETS", Path(__file__).parents[2] / "shared" / "data"))
SAME_OBJECTS = Path(__file__).parent / "same_objects.json"
EVERY = int(os.environ.get("BENCH_EVERY", "1"))
METHODS = ["sift", "efficientnet-lite0"]

HALF = 200
"""Number of pairs with which a dataset counts half; its pairs are not independent."""

SCALE, WEIGHT = 0.4, 40
"""Expected scale of the tail, and its weight as a number of values."""

Array = NDArray[np.float64]


def main() -> None:
    from benchmarks.contract import write
    from benchmarks.parts import child, working_folder

    available = sorted(path.parent.name for path in DATASETS.glob("*/manifest.json") if _is_large(path))
    if not available:
        print(f"skipped: no manifest in {DATASETS} (set BENCH_DATASETS)")
        return
    from imagefinder.calibration import common_parts

    names = os.environ.get("BENCH_SETS", ",".join(available)).split(",")
    with working_folder("calibration") as folder:
        found = {name: child("calibration", "measure", folder, 0, name) for name in names}
        for name, one in found.items():
            one["calibration_cpu_s"] = min(child("calibration", "cost", folder, 0, name)["cpu_s"][1:])
    witnesses = {name: _witnesses_of_wrong_pairs(one) for name, one in found.items()}
    rows = []
    for name, one in found.items():
        others = [values for other, values in witnesses.items() if other != name]
        shipped = common_parts.TAIL.to_dict()
        left_out = fit_tail(others) if any(map(len, others)) else shipped
        rows.append({"set": name, **_metrics(one, left_out), "with_the_shipped_tail": _metrics(one, shipped)})
        print(rows[-1], flush=True)
    tail = fit_tail(list(witnesses.values()))
    pairs = {name: len(values) for name, values in witnesses.items()}
    write("calibration", {"rows": rows, "tail": tail, "wrong_pairs": pairs})
    print(tail)


def _is_large(manifest: Path) -> bool:
    """Whether a dataset is large enough for statistics: it has at least 100 images."""
    return len(json.loads(manifest.read_text(encoding="utf-8"))["images"]) >= 100


# -- one dataset -----------------------------------------------------------------------------------------------


def measure(folder: str, _size: int, name: str) -> dict[str, Any]:
    """Index, calibrate and search one dataset."""
    import imagefinder
    from imagefinder.evaluation.datasets import read_manifest
    from imagefinder.evaluation.protocol import add_gallery
    from imagefinder.search import null_model

    dataset = read_manifest(DATASETS / name)
    same = _same_objects(name)
    with imagefinder.open(f"{folder}/{name}") as collection:
        begin = time.process_time()
        add_gallery(collection, dataset, METHODS)  # calibrates it
        added = time.process_time() - begin
        queries = []
        for query in dataset.queries[::EVERY]:
            result = collection.search(query.path, k=len(dataset.images))
            ignored = same.get(_stem(query.path.name), set())
            queries.append(
                {
                    "positives": len(query.positives),
                    "hits": [
                        [
                            1 if hit.id in query.positives else 0,
                            math.log10(max(hit.evalue or 0, 1e-300)),
                            math.log10(hit.methods[METHODS[1]].evalue) if METHODS[1] in hit.methods else None,
                            hit.relation == "identical",
                            hit.evidence
                            and [hit.evidence.log10_chance, hit.evidence.agreement, hit.evidence.found_by],
                        ]
                        for hit in result.hits
                        if hit.id not in query.ignore and _stem(hit.id) not in ignored
                    ],
                }
            )
        stored = collection.store.derived(null_model.NAME)
    return {
        "images": len(dataset.images),
        "added_cpu_s": round(added, 2),
        "null_model": stored.data.decode() if stored else "",
        "queries": queries,
    }


def cost(folder: str, _size: int, name: str) -> dict[str, Any]:
    """The CPU time of fitting the null model of an indexed dataset, in a process that has used it before."""
    import imagefinder
    from imagefinder.search.fit import fit

    with imagefinder.open(f"{folder}/{name}") as collection:
        methods = [collection.runtime.method(method) for method in METHODS]
        seconds = []
        for _ in range(3):
            begin = time.process_time()
            fit(collection.store, methods, collection.runtime)
            seconds.append(round(time.process_time() - begin, 3))
    return {"cpu_s": seconds}


def _same_objects(name: str) -> dict[str, set[str]]:
    """Name of an image -> names of others that show the same object under another label."""
    same: dict[str, set[str]] = {}
    for a, b, _reason in json.loads(SAME_OBJECTS.read_text(encoding="utf-8")).get(name, []):
        same.setdefault(a, set()).add(b)
        same.setdefault(b, set()).add(a)
    return same


def _stem(path: str) -> str:
    """Name of an image, without folder, extension and the names of edits."""
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[0].split("__", maxsplit=1)[0]


# -- tails -----------------------------------------------------------------------------------------------------


def _witnesses_of_wrong_pairs(found: Mapping[str, Any]) -> Array:
    """The witnesses of all wrong pairs whose geometry rules out chance, if agreement counts in this dataset."""
    from imagefinder.calibration.common_parts import witness

    if not _null_model(found).agreement_counts:
        return np.empty(0)
    limit = -2 - math.log10(found["images"])
    wrong = [hit for query in found["queries"] for hit in query["hits"] if hit[4] and not hit[0]]
    return np.array(
        [witness(hit[4][0], hit[4][1], _similarity(hit, found["images"])) for hit in wrong if hit[4][0] <= limit]
    )


def _similarity(hit: Sequence[Any], images: int) -> float:
    from imagefinder.calibration.common_parts import similarity

    return similarity(math.inf if hit[2] is None else hit[2], images)


def fit_tail(groups: Sequence[Array]) -> dict[str, Any]:
    """Deciles of the values of several datasets, and an exponential tail above the highest one.

    A dataset with n values counts n / (n + 200).
    """
    weights = np.concatenate([np.full(len(group), 1 / (len(group) + HALF)) for group in groups if len(group)])
    values = np.concatenate(groups)
    order = np.argsort(values)
    values, weights = values[order], weights[order] / weights.mean()
    below = np.cumsum(weights) / weights.sum()
    shares = np.arange(10, 0, -1) / 10
    knots = values[np.minimum(np.searchsorted(below, 1 - shares + 1e-9), len(values) - 1)]
    upper = values > knots[-1]
    excess = float(np.sum(weights[upper] * (values[upper] - knots[-1])))
    scale = (excess + WEIGHT * SCALE) / (float(weights[upper].sum()) + WEIGHT)
    return {
        "knots": np.round(knots, 2).tolist(),
        "log10_shares": np.round(np.log10(shares), 3).tolist(),
        "scale": round(scale, 3),
    }


# -- metrics ---------------------------------------------------------------------------------------------------


def _null_model(found: Mapping[str, Any]) -> Any:
    from imagefinder.calibration.evalue import TailCalibrator
    from imagefinder.search.null_model import from_bytes

    model = from_bytes(found["null_model"].encode(), TailCalibrator())
    assert model is not None
    return model


def _metrics(found: Mapping[str, Any], tail: Mapping[str, Any]) -> dict[str, Any]:
    from imagefinder.evaluation.metrics import operating_point

    limit = -2 - math.log10(found["images"])
    precisions, confidences, correct, total = [], list[float](), list[bool](), 0
    right, matched, wrong = 0, 0, {1.0: 0, 0.1: 0, 0.01: 0}
    for query, evalues in zip(found["queries"], _evalues(found, tail), strict=True):
        # The sort is stable, so images of one E-value stay in the order of the search.
        ranked = [query["hits"][row] for row in np.argsort(evalues, kind="stable")]
        if query["positives"]:
            ranks = [rank for rank, hit in enumerate(ranked, 1) if hit[0]]
            precisions.append(sum(n / rank for n, rank in enumerate(ranks, 1)) / query["positives"])
        for hit, evalue in zip(query["hits"], evalues, strict=True):
            confidences.append(-evalue)
            correct.append(bool(hit[0]))
            if hit[0] and hit[4] and hit[4][0] <= limit:
                right += 1
                matched += int(evalue <= -2 + 1e-9)
            for most in wrong:
                wrong[most] += int(not hit[0] and evalue <= math.log10(most) + 1e-9)
        total += query["positives"]
    at_99 = operating_point(confidences, correct, total, 0.99)
    model = _null_model(found)
    return {
        "images": found["images"],
        "queries": len(found["queries"]),
        "right_pairs": right,
        "called_match": round(matched / right, 3) if right else None,
        "wrong_per_query": {f"{most:g}": round(n / len(found["queries"]), 4) for most, n in wrong.items()},
        "mAP": round(float(np.mean(precisions)), 4),
        "recall_at_99": round(at_99.recall if at_99 else 0.0, 4),
        "indexing_cpu_s": round(found["added_cpu_s"] - found["calibration_cpu_s"], 2),
        "calibration_cpu_s": found["calibration_cpu_s"],
        "calibration_share": round(
            found["calibration_cpu_s"] / (found["added_cpu_s"] - found["calibration_cpu_s"]), 3
        ),
        "common_parts": round(model.common_parts(found["images"]), 3),
        "seeds": len(model.seeds),
        "agreement_counts": model.agreement_counts,
    }


def _evalues(found: Mapping[str, Any], tail: Mapping[str, Any]) -> list[Array]:
    """Log10 of the E-values of the hits of each query, with this tail of common parts."""
    from dataclasses import replace

    from imagefinder.calibration import common_parts
    from imagefinder.calibration.evalue import TailCalibrator
    from imagefinder.search.calibration import Calibration
    from imagefinder.search.verification import whole_image

    shipped, common_parts.TAIL = common_parts.TAIL, TailCalibrator().read(tail)
    calibration = Calibration(_null_model(found), found["images"], tests=2)
    empty = whole_image((1, 1), (1, 1), mirrored=False)
    every = []
    for query in found["queries"]:
        values = []
        for hit in query["hits"]:
            _, _, alone, identical, evidence = hit
            similar = _similarity(hit, found["images"])
            value = math.inf if alone is None else alone
            if evidence:
                chance, agreement, by = evidence
                one = replace(empty, log10_chance=chance, agreement=agreement, found_by=by)
                value = min(value, calibration.of_evidence(one, similar))
            values.append(-math.inf if identical else value)
        every.append(calibration.combine(np.array(values)))
    common_parts.TAIL = shipped
    return every


if __name__ == "__main__":
    from benchmarks.parts import run_task

    run_task({"measure": measure, "cost": cost})
