"""Run benchmarks by name, or all of them: ``python -m benchmarks [NAME ...]``."""

import importlib
import sys

from benchmarks.contract import others

BENCHMARKS = (
    *("mutual_nn", "geometry", "retrieval", "evidence", "stages", "vectors", "words", "aggregate", "inference"),
    *(
        "default_search",
        "indexing",
        "latency",
        "sizing",
        "service",
        "throughput",
        "robust",
        "copies",
        "duplicates",
        "calibration",
        "word_search",
    ),
    "startup",
    "cluster",
)

SEPARATE = ("peers", "cluster_sizing")
"""Only run by name: they need a separate environment (``make bench-peers``), or a database server."""


def main() -> int:
    names = sys.argv[1:] or BENCHMARKS
    for name in names:
        if name not in (*BENCHMARKS, *SEPARATE):
            print(f"unknown benchmark {name!r}; available: {', '.join((*BENCHMARKS, *SEPARATE))}", file=sys.stderr)
            return 2
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"== {name}: {module.__doc__.splitlines()[0]}", flush=True)
        others.begin()
        module.main()
    return 0


sys.exit(main())
