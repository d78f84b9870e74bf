"""How much processor time does it take to start a command?

User and system time of a process and its children, for ``--version``, ``--help``, ``settings`` and ``search`` with
one image of the dataset ``copy`` in a collection of its 500 images (sift and efficientnet-lite0, calibrated).
Commands alternate. ``BEFORE=FOLDER`` also measures another checkout, with its own environment and collection.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.contract import spread, write

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))
DATA = Path(os.environ.get("BENCH_DATASETS", Path(__file__).parents[2] / "shared" / "data")) / "copy"
BEFORE = os.environ.get("BEFORE", "")
ROOTS = {"now": Path(__file__).parents[1], **({"before": Path(BEFORE)} if BEFORE else {})}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        commands = {"--version": ["--version"], "--help": ["--help"], "settings": ["settings"]}
        if (DATA / "manifest.json").is_file():
            query = json.loads((DATA / "manifest.json").read_text())["queries"][0]["query"]
            commands["search"] = ["search", str(DATA / query)]
            for name, root in ROOTS.items():
                add = ["add", str(DATA / "db"), "-m", "sift", "-m", "efficientnet-lite0"]
                _run(root, Path(folder, name), add)
        else:
            print(f"search is skipped: there is no {DATA}; set BENCH_DATASETS")
        used: dict[str, dict[str, list[float]]] = {name: {kind: [] for kind in commands} for name in ROOTS}
        for number in range(ROUNDS + 1):
            for kind, arguments in commands.items():
                for name, root in ROOTS.items():
                    spent = _run(root, Path(folder, name), arguments)
                    if number:  # the first round compiles modules, and calibrates the collection
                        used[name][kind].append(1000 * spent)
    results = {name: {kind: spread(values) for kind, values in kinds.items()} for name, kinds in used.items()}
    write("startup", {"cpu_ms": results, "rounds": ROUNDS})


def _run(root: Path, folder: Path, arguments: list[str]) -> float:
    """Seconds of processor time of one command, its children included."""
    python = root / ".venv" / "bin" / "python"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("IMAGEFINDER_", "PYTHON"))},
        "IMAGEFINDER_COLLECTION": str(folder / "collection"),
        "IMAGEFINDER_MODELS": str(folder / "models"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),  # compiled modules, as installed packages have them
    }
    command = [str(python if python.exists() else sys.executable), "-m", "imagefinder", *arguments]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, cwd=root, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
