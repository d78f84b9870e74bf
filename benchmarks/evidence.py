"""How accurate is each way of ranking, how well are its E-values calibrated, and how fast is it?

For each labelled dataset: one collection with all methods that are ready, all queries, each method ranked by score
and by evidence, and all methods combined. ``BENCH_SETS`` (comma-separated) selects datasets; default: all. Results
of other datasets are kept, each with the commit it was measured at. Accuracy does not depend on the machine; times
do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DATASETS = Path(os.environ.get("BENCH_DATASETS", Path(__file__).parents[2] / "shared" / "data"))


def main() -> None:
    from benchmarks.contract import RESULTS, commit, write

    available = sorted(path.parent.name for path in DATASETS.glob("*/manifest.json"))
    if not available:
        print(f"skipped: no manifest in {DATASETS} (set BENCH_DATASETS)")
        return
    before = RESULTS / "evidence.json"
    stored = json.loads(before.read_text(encoding="utf-8"))["rows"] if before.exists() else []
    rows = {row["set"]: row for row in stored}
    for name in os.environ.get("BENCH_SETS", ",".join(available)).split(","):
        run = subprocess.run(
            [sys.executable, "-m", "benchmarks.evidence", name],
            stdout=subprocess.PIPE,
            check=True,
            text=True,
            env={k: v for k, v in os.environ.items() if not k.startswith("IMAGEFINDER_")}
            | {"BENCH_DATASETS": str(DATASETS)},
        )
        rows[name] = {**json.loads(run.stdout.splitlines()[-1]), "commit": commit()}
        for answer in rows[name]["answers"]:
            print(name, {k: v for k, v in answer.items() if k != "kinds"}, flush=True)
    write("evidence", {"rows": [rows[name] for name in sorted(rows)]})


def measure(name: str) -> dict[str, object]:
    import imagefinder
    from imagefinder.evaluation.datasets import read_manifest
    from imagefinder.evaluation.protocol import add_gallery, evaluate

    dataset = read_manifest(DATASETS / name)
    with tempfile.TemporaryDirectory() as folder, imagefinder.open(folder + "/c") as collection:
        methods = [state.name for state in collection.methods() if state.ready]
        report = add_gallery(collection, dataset, methods)
        assert report.added == len(dataset.images), report
        start = time.perf_counter()
        collection.calibrate()
        calibration = time.perf_counter() - start
        single = [(method, ranking) for method in methods for ranking in ("matches", "evidence")]
        answers = []
        for method, ranking in [*single, ("auto", "evidence")]:
            found = evaluate(collection, dataset, method, ranking=ranking)
            answers.append(
                {
                    "method": method,
                    "ranking": ranking,
                    "fingerprint": found.fingerprint,
                    "mAP": round(found.mean_average_precision, 4),
                    "R@1": round(found.recall_at_1, 4),
                    "micro_AP": round(found.micro_average_precision, 4),
                    "recall_at_99": round(found.recall_at_99, 4),
                    "recall_as_matches": round(found.as_matches.recall, 4) if found.as_matches else 0.0,
                    "false_alarms": found.false_alarms,
                    "wrong_per_query": {f"{e:g}": round(n, 4) for e, n in found.wrong_per_query.items()},
                    "query_ms_median": {k: round(v * 1000, 2) for k, v in found.median_seconds.items()},
                    "kinds": [one.to_dict() for one in found.by_edit],
                }
            )
        return {
            "set": name,
            "images": len(dataset.images),
            "queries": found.queries,
            "unanswerable": found.unanswerable,
            "seconds_to_index": round(report.seconds, 2),
            "seconds_to_calibrate": round(calibration, 2),
            "answers": answers,
        }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
