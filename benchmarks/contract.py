"""Shared by all benchmarks: alternating rounds, medians with spread, one JSON file of results each."""

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


PLACES = ("BENCH_DATASETS", "BENCH_FOLDER")
"""Settings of locations, which do not affect the measurement."""

# Matrix libraries keep their threads spinning after a product; the pause keeps that out of the next measurement.
PAUSE = 0.1


def alternate(candidates: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, list[float]]:
    """Seconds per call: one warm-up of each candidate, then ``rounds`` alternating rounds (A B C A B C ...)."""
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
    """Minimum, median and maximum."""
    return {"min": min(values), "median": median(values), "max": max(values)}


def ratios(seconds: dict[str, list[float]], baseline: str) -> dict[str, dict[str, float]]:
    """Speed-up of each candidate over the baseline, by round."""
    return {
        name: spread([y / s for s, y in zip(values, seconds[baseline], strict=True)])
        for name, values in seconds.items()
    }


class Others:
    """Mean number of cores busy with other work since the start of the benchmark."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start measuring."""
        self._start = self._now()

    def cores(self) -> float | None:
        """Number of cores; ``None`` if the system does not report it."""
        if self._start is None or (now := self._now()) is None:
            return None
        clock, busy, own = (b - a for a, b in zip(self._start, now, strict=True))
        return round(max(0.0, busy - own) / max(clock, 1e-3), 2)

    @staticmethod
    def _now() -> tuple[float, float, float] | None:
        """Clock, CPU time of the machine, and CPU time of this process and its finished children; seconds."""
        stat = Path("/proc/stat")
        if not stat.exists():
            return None
        user, nice, system, _, _, irq, soft, steal, *_ = map(int, stat.read_text().split("\n", 1)[0].split()[1:])
        own = os.times()
        busy = (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), busy, sum(own[:4])


others = Others()


def write(name: str, results: dict[str, Any]) -> None:
    """Write results, with the machine and the command they were measured with."""
    RESULTS.mkdir(exist_ok=True)
    document = {"measured_on": {**machine(), "command": command(name)}, **results}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    print(json.dumps(results, indent=2, sort_keys=True))


def machine() -> dict[str, Any]:
    """Processor, cores, load, cores busy with other work, library versions, commit."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 1),
        "cores_busy_for_others": others.cores(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
        "commit": commit(),
    }


def command(name: str) -> str:
    """Command that repeats the measurement, without locations."""
    chosen = {key: value for key, value in os.environ.items() if key.startswith("BENCH_") and key not in PLACES}
    return " ".join([*(f"{key}={value}" for key, value in sorted(chosen.items())), "python -m benchmarks", name])


def commit() -> str:
    """Commit that is checked out."""
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
