"""How much processor time does a default search take, by stage, and how much did it take before?

**Collection**: the 500 images of the dataset ``copy`` with ``sift`` and ``efficientnet-lite0``, calibrated.
**Queries**: 30 of its edited images, ``queries[::14][:30]`` of the manifest. Four searches of each: ``sift``
and ``efficientnet-lite0`` in plain order, and the default search (``auto``, by evidence) in modes ``exact`` and
``fast``.

``BEFORE`` names the folder of another checkout with its own virtual environment. It runs in a process of its
own, in turns with this one, query by query, with a collection that it made itself. ``equal_answers`` counts the
queries whose first ten hits are equal: ids, order, decision, E-value to three digits, relation and inliers.

Times are medians of the processor time of the searching process, with all its threads; images are decoded in
another process, whose time is not included. ``wall_ms`` is what a person waits.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

DATASETS = Path(os.environ.get("BENCH_DATASETS", Path(__file__).parents[2] / "shared" / "data"))
BEFORE = os.environ.get("BEFORE")
QUERIES = int(os.environ.get("BENCH_QUERIES", "30"))
METHODS = ("sift", "efficientnet-lite0")
FIRST_HITS = 10
SEARCHES: dict[str, dict[str, Any]] = {
    "sift, plain order": {"method": "sift", "ranking": "matches", "evalues": False},
    "efficientnet-lite0, plain order": {"method": "efficientnet-lite0", "ranking": "matches", "evalues": False},
    "default, exact": {"mode": "exact"},
    "default, fast": {"mode": "fast"},
}
DECIDING = ("default, exact", "default, fast")


def main() -> None:
    from benchmarks import parts
    from benchmarks.contract import write

    if not (DATASETS / "copy" / "manifest.json").is_file():
        print(f"skipped: no {DATASETS}/copy/manifest.json (set BENCH_DATASETS)")
        return
    with parts.working_folder("default_search") as folder, contextlib.ExitStack() as stack:
        checkouts = {"after": stack.enter_context(Checkout(sys.executable, Path(folder) / "after"))}
        if BEFORE:
            python = str(Path(BEFORE) / ".venv" / "bin" / "python")
            checkouts["before"] = stack.enter_context(Checkout(python, Path(folder) / "before"))
        queries = json.loads((DATASETS / "copy" / "manifest.json").read_text(encoding="utf-8"))["queries"]
        paths = [str(DATASETS / "copy" / query["query"]) for query in queries[::14][:QUERIES]]
        for checkout in checkouts.values():
            for search in SEARCHES.values():
                checkout.search(paths[-1], **search)
        timed: dict[str, dict[str, list[Any]]] = {name: {search: [] for search in SEARCHES} for name in checkouts}
        answers: dict[str, dict[str, list[Any]]] = {
            name: {search: [] for search in DECIDING} for name in checkouts
        }
        for number, path in enumerate(paths):
            turns = list(checkouts.items())[:: 1 if number % 2 else -1]
            for search, options in SEARCHES.items():
                for name, checkout in turns:
                    timed[name][search].append(checkout.search(path, **options))
            for search in DECIDING:
                for name, checkout in turns:
                    found = checkout.search(path, k=FIRST_HITS, **SEARCHES[search])
                    answers[name][search].append([found["decision"], found["hits"]])
    results: dict[str, Any] = {
        name: {search: row(runs) for search, runs in rows.items()} for name, rows in timed.items()
    }
    results["queries"] = len(paths)
    results["equal_answers"] = {"fast and exact": equal(*(answers["after"][search] for search in DECIDING))}
    if BEFORE:
        for search in DECIDING:
            results["equal_answers"][f"{search}: after and before"] = equal(
                answers["after"][search], answers["before"][search]
            )
    write("default_search", results)


def row(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of one kind of search, in milliseconds."""
    stages = dict.fromkeys(stage for run in runs for stage in run["stages"])
    return {
        "cpu_ms": round(1000 * median(run["cpu"] for run in runs), 1),
        "wall_ms": round(1000 * median(run["wall"] for run in runs), 1),
        "stages_cpu_ms": {
            stage: round(1000 * median(run["stages"].get(stage, 0.0) for run in runs), 1) for stage in stages
        },
    }


def equal(some: list[Any], others: list[Any]) -> int:
    return sum(one == other for one, other in zip(some, others, strict=True))


class Checkout:
    """A checkout whose searches run in a process of its own."""

    def __init__(self, python: str, folder: Path) -> None:
        self._command = [python, "-P", os.path.abspath(__file__), str(folder), str(DATASETS / "copy")]  # noqa: PTH100

    def __enter__(self) -> Checkout:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("IMAGEFINDER_")}
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._answers = self._read()
        next(self._answers)  # the collection is ready
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def search(self, path: str, **options: Any) -> dict[str, Any]:
        """Processor time, stages and hits of a search."""
        assert self._process.stdin
        print(json.dumps({"path": path, **options}), file=self._process.stdin, flush=True)
        return next(self._answers)

    def _read(self) -> Iterator[dict[str, Any]]:
        assert self._process.stdout
        for line in self._process.stdout:
            yield json.loads(line)
        raise RuntimeError("the process of a checkout has ended; its messages are above")


def serve(folder: str, dataset: str) -> None:
    """Answer searches from standard input; runs in the process of a checkout, with its version of imagefinder."""
    # Searches measure their stages with this clock.
    time.perf_counter = time.process_time
    import imagefinder
    from imagefinder.evaluation.datasets import read_manifest
    from imagefinder.evaluation.protocol import add_gallery

    with imagefinder.open(folder) as collection:
        if collection.info().images == 0:
            add_gallery(collection, read_manifest(Path(dataset)), METHODS)
        collection.calibrate()
        print(json.dumps({}), flush=True)
        for line in sys.stdin:
            options = json.loads(line)
            path = options.pop("path")
            clock, start = time.monotonic(), time.process_time()
            result = collection.search(path, **options)
            seconds, waited = time.process_time() - start, time.monotonic() - clock
            hits = [
                [
                    hit.id,
                    hit.decision,
                    f"{hit.evalue or 0:.3g}",
                    hit.relation,
                    hit.evidence and hit.evidence.inliers,
                ]
                for hit in result.hits
            ]
            answer = {"cpu": seconds, "wall": waited, "decision": result.decision, "hits": hits}
            print(json.dumps({**answer, "stages": dict(result.timings)}), flush=True)


if __name__ == "__main__":
    serve(*sys.argv[1:])
