"""How long do the first and later queries of a new process take, and where does the time go?

For each dataset (``BENCH_SETS``, default: ``places``): one collection with all methods that are ready, calibrated
beforehand, and ``BENCH_ROUNDS`` new processes for each method. ``cold`` is the first query of a process, from the
start of the interpreter to the result; ``warm`` are the next ones. Files are in the system's cache: disk access is
not measured.

Stages of a cold start: ``start`` (interpreter and import), ``open`` (the collection), ``query`` (the first search,
which loads the network and reads the features), which is also split into the stages that every result reports.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contract import spread, write

DATASETS = Path(os.environ.get("BENCH_DATASETS", Path(__file__).parents[2] / "shared" / "data"))
SETS = os.environ.get("BENCH_SETS", "places").split(",")
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
WARM = 5


def main() -> None:
    import imagefinder
    from imagefinder.evaluation.datasets import read_manifest
    from imagefinder.evaluation.protocol import add_gallery

    rows = []
    for name in SETS:
        if not (DATASETS / name / "manifest.json").is_file():
            print(f"skipped {name}: no {DATASETS / name}/manifest.json (set BENCH_DATASETS)")
            continue
        dataset = read_manifest(DATASETS / name)
        with tempfile.TemporaryDirectory() as folder:
            with imagefinder.open(folder + "/c") as collection:
                methods = [state.name for state in collection.methods() if state.ready]
                add_gallery(collection, dataset, methods)
                collection.calibrate()
            single = [(method, ranking) for method in methods for ranking in ("matches", "evidence")]
            for method, ranking in [*single, ("auto", "evidence")]:
                runs = [process(folder, method, ranking, name) for _ in range(ROUNDS)]
                rows.append(
                    {
                        "set": name,
                        "images": len(dataset.images),
                        "method": method,
                        "ranking": ranking,
                        "cold_ms": {
                            key: spread([run["cold"][key] for run in runs])
                            for key in ("start", "open", "query", "total")
                        },
                        "cold_stages_ms": stages([run["cold_stages"] for run in runs]),
                        "warm_ms": spread([value for run in runs for value in run["warm"]]),
                        "warm_stages_ms": stages([one for run in runs for one in run["warm_stages"]]),
                    }
                )
                print(rows[-1], flush=True)
    if rows:
        write("latency", {"rows": rows})


def stages(timings: list[dict[str, float]]) -> dict[str, float]:
    """Median time of each stage in milliseconds."""
    names = dict.fromkeys(stage for one in timings for stage in one)
    return {name: round(1000 * median(one.get(name, 0.0) for one in timings), 2) for name in names}


def process(folder: str, method: str, ranking: str, name: str) -> dict[str, Any]:
    """Run a new process; returns its timings, and the time to its first result."""
    command = [sys.executable, "-m", "benchmarks.latency", folder, method, ranking, name]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("IMAGEFINDER_")}
    started = time.time()
    run = subprocess.run(
        command, stdout=subprocess.PIPE, check=True, text=True, env=environment | {"BENCH_DATASETS": str(DATASETS)}
    )
    report: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    at = [started, *report.pop("at")]
    report["cold"] = {
        key: 1000 * (end - start)
        for key, start, end in zip(("start", "open", "query"), at[:-1], at[1:], strict=True)
    } | {"total": 1000 * (at[-1] - at[0])}
    return report


def search(folder: str, method: str, ranking: Any, name: str) -> dict[str, Any]:
    import imagefinder

    imported = time.time()
    with imagefinder.open(folder + "/c", create=False) as collection:
        opened = time.time()
        # Reading the manifest is not part of opening or searching.
        first = json.loads((DATASETS / name / "manifest.json").read_text(encoding="utf-8"))["queries"]
        paths = [DATASETS / name / query["query"] for query in first[: WARM + 1]]
        cold = collection.search(paths[0], method=method, ranking=ranking)
        answered = time.time()
        warm, timings = [], []
        for path in paths[1:]:
            start = time.perf_counter()
            timings.append(dict(collection.search(path, method=method, ranking=ranking).timings))
            warm.append(1000 * (time.perf_counter() - start))
    return {
        "at": [imported, opened, answered],
        "cold_stages": dict(cold.timings),
        "warm": warm,
        "warm_stages": timings,
    }


if __name__ == "__main__":
    print(json.dumps(search(*sys.argv[1:])))
