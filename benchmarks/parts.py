"""Long measurements in parts, each in a separate process, so that its memory peak is its own.

With ``BENCH_FOLDER``, an interrupted run resumes where it stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = os.environ.get("BENCH_FOLDER")
_reused: list[Path] = []
"""Results of an earlier run, whose load is unknown."""


def chosen(available: Sequence[str]) -> set[str]:
    """The parts named by ``BENCH_PARTS``; default: all."""
    return set(os.environ.get("BENCH_PARTS", ",".join(available)).split(",")) & set(available)


@contextlib.contextmanager
def working_folder(name: str) -> Iterator[str]:
    """``BENCH_FOLDER/NAME``, where an interrupted run can resume, or a temporary folder."""
    if FOLDER:
        kept = Path(FOLDER) / name
        kept.mkdir(exist_ok=True)
        yield str(kept)
        shutil.rmtree(kept)
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield folder


def child(name: str, what: str, folder: str, size: int, *more: str) -> dict[str, Any]:
    """Run a task of ``benchmarks.NAME`` in a new process, or reuse its result from an earlier run."""
    result = Path(folder) / f"{'-'.join([what, str(size), *more]).replace('/', '_')}.json"
    if result.exists():
        _reused.append(result)
        return json.loads(result.read_text(encoding="utf-8"))
    run = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", what, folder, str(size), *more],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("IMAGEFINDER_")},
    )
    result.write_text(run.stdout.splitlines()[-1], encoding="utf-8")
    return json.loads(result.read_text(encoding="utf-8"))


def run_task(tasks: dict[str, Callable[..., dict[str, Any]]]) -> None:
    """Run the task that ``child`` requested, and print its result."""
    print(json.dumps(tasks[sys.argv[1]](sys.argv[2], int(sys.argv[3]), *sys.argv[4:])))


def keep(name: str, available: Sequence[str], part: str, rows: Any) -> None:
    """Write the results of one part, with the machine they were measured on; other parts stay unchanged."""
    from benchmarks.contract import RESULTS, command, machine, write

    before = RESULTS / f"{name}.json"
    answer = json.loads(before.read_text(encoding="utf-8")) if before.exists() else {}
    measured = answer.get("parts_measured_on", {})
    measured[part] = {**machine(), "command": command(name)}
    if _reused:
        measured[part]["cores_busy_for_others"] = None
    parts = {one: answer[one] for one in available if one in answer}
    write(name, {**parts, part: rows, "parts_measured_on": measured})


def ms(values: list[float], percent: float) -> float:
    """Percentile of times in seconds, as milliseconds."""
    return round(1000 * float(np.percentile(values, percent)), 1)
