from __future__ import annotations

import importlib.util
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import cluster_targets  # noqa: F401 - adds its targets
import pytest
from targets import TARGETS

HERE = Path(__file__).parent
SECONDS = int(os.environ.get("FUZZ_SECONDS", "0"))


@pytest.mark.parametrize("name", TARGETS)
def test_sound_examples_and_all_that_was_ever_found(name: str) -> None:
    target = TARGETS[name]
    for seed in target.seeds():
        target.run(seed)
    for found in sorted((HERE / "corpus" / name).glob("*")):
        target.run(found.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_examples(name: str) -> None:
    """The same bytes each time: some changed, some cut, some twice."""
    target, rng = TARGETS[name], random.Random(name)
    for seed in filter(None, target.seeds()):
        for _ in range(60):
            data = bytearray(seed)
            for _ in range(rng.choice((1, 2, 8))):
                data[rng.randrange(len(data))] = rng.choice((0, 1, 10, 34, 44, 127, 255, rng.randrange(256)))
            begin, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
            change = rng.choice(("none", "cut", "end", "twice"))
            if change == "cut":
                del data[begin:end]
            elif change == "end":
                del data[begin:]
            elif change == "twice":
                data[begin:begin] = data[begin:end]
            target.run(bytes(data))


@pytest.mark.skipif(SECONDS == 0, reason="guided fuzzing takes its time: FUZZ_SECONDS=60, or make fuzz")
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not there for this platform")
@pytest.mark.parametrize("name", TARGETS)
def test_guided_by_coverage(name: str) -> None:
    process = subprocess.run(
        [sys.executable, HERE / "run.py", name, "--seconds", str(SECONDS)],
        capture_output=True,
        text=True,
        timeout=SECONDS + 120,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    assert process.returncode == 0, process.stdout[-4000:] + process.stderr[-4000:]  # the traceback is in stdout
    executed = re.search(r"number_of_executed_units: (\d+)", process.stderr)
    assert executed, process.stderr[-4000:]
    assert int(executed[1]) > 1
