"""Run benchmarks by name, or all of them: ``python -m benchmarks [NAME ...]``."""

import importlib
import sys

from benchmarks.contract import others

QUESTIONS = (
    *("mutual_nn", "retrieval", "evidence", "stages", "vectors", "inference"),
    *("indexing", "latency", "sizing", "service", "robust"),
)

ELSEWHERE = ("peers",)
"""Not among all of them: run in an environment of its own (``make bench-peers``)."""


def main() -> int:
    names = sys.argv[1:] or QUESTIONS
    for name in names:
        if name not in (*QUESTIONS, *ELSEWHERE):
            print(f"no benchmark {name!r}; there are: {', '.join((*QUESTIONS, *ELSEWHERE))}", file=sys.stderr)
            return 2
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"== {name}: {module.__doc__.splitlines()[0]}", flush=True)
        others.begin()
        module.main()
    return 0


sys.exit(main())
