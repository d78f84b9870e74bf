"""What every benchmark shares: alternating rounds, medians with spread, one JSON file per answer."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("imagefinder", "numpy", "opencv-python-headless", "onnxruntime", "pillow")


# Matrix libraries leave their threads spinning for a while after a product; what comes next is not to pay for it.
PAUSE = 0.1


def alternate(candidates: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, list[float]]:
    """Seconds per call: one warm-up of each, then ``rounds`` times each in turn, with pauses (A B C A B C ...)."""
    for run in candidates.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def spread(values: list[float]) -> dict[str, float]:
    """Least, median and greatest."""
    return {"min": min(values), "median": median(values), "max": max(values)}


def ratios(seconds: dict[str, list[float]], yardstick: str) -> dict[str, dict[str, float]]:
    """How many times as fast as the yardstick each one was, round by round."""
    return {
        name: spread([y / s for s, y in zip(values, seconds[yardstick], strict=True)])
        for name, values in seconds.items()
    }


def write(name: str, answer: dict[str, Any]) -> None:
    """Keep an answer together with what it was measured on."""
    RESULTS.mkdir(exist_ok=True)
    document = {"measured_on": machine(), **answer}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    print(json.dumps(answer, indent=2, sort_keys=True))


def machine() -> dict[str, Any]:
    """Processor, cores, how busy they are (processes, over a minute), versions, commit."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
        "commit": commit(),
    }


def commit() -> str:
    """What is checked out."""
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
