"""Long measurements in parts: each in a process of its own, so that memory is that of this task alone.

With ``BENCH_FOLDER`` a run that was interrupted goes on where it was.
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
_taken_over: list[Path] = []
"""Answers of an earlier run: how busy the machine was then is not known to this one."""


def chosen(known: Sequence[str]) -> set[str]:
    """Those that ``BENCH_PARTS`` names, or all."""
    return set(os.environ.get("BENCH_PARTS", ",".join(known)).split(",")) & set(known)


@contextlib.contextmanager
def working_folder(name: str) -> Iterator[str]:
    """``BENCH_FOLDER/NAME``, in which a run that was interrupted goes on, or a folder of this run."""
    if FOLDER:
        kept = Path(FOLDER) / name
        kept.mkdir(exist_ok=True)
        yield str(kept)
        shutil.rmtree(kept)
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield folder


def child(name: str, what: str, folder: str, size: int, *more: str) -> dict[str, Any]:
    """What a task of ``benchmarks.NAME`` says; what it said before is not asked again."""
    said = Path(folder) / f"{'-'.join([what, str(size), *more]).replace('/', '_')}.json"
    if said.exists():
        _taken_over.append(said)
        return json.loads(said.read_text(encoding="utf-8"))
    run = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", what, folder, str(size), *more],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("IMAGEFINDER_")},
    )
    said.write_text(run.stdout.splitlines()[-1], encoding="utf-8")
    return json.loads(said.read_text(encoding="utf-8"))


def run_task(tasks: dict[str, Callable[..., dict[str, Any]]]) -> None:
    """The other end of ``child``."""
    print(json.dumps(tasks[sys.argv[1]](sys.argv[2], int(sys.argv[3]), *sys.argv[4:])))


def keep(name: str, known: Sequence[str], part: str, rows: Any) -> None:
    """Write one part of an answer, with what it was measured on; the others stay as they are."""
    from benchmarks.contract import RESULTS, command, machine, write

    before = RESULTS / f"{name}.json"
    answer = json.loads(before.read_text(encoding="utf-8")) if before.exists() else {}
    measured = answer.get("parts_measured_on", {})
    measured[part] = {**machine(), "command": command(name)}
    if _taken_over:
        measured[part]["cores_busy_for_others"] = None
    parts = {one: answer[one] for one in known if one in answer}
    write(name, {**parts, part: rows, "parts_measured_on": measured})


def ms(values: list[float], percent: float) -> float:
    """A percentile of seconds, in milliseconds."""
    return round(1000 * float(np.percentile(values, percent)), 1)
