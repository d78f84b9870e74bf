"""The command line as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def run(
    *arguments: str | Path, environment: Mapping[str, str] | None = None, command: Sequence[str | Path] = ()
) -> subprocess.CompletedProcess[str]:
    """Run ``imagefinder`` to its end.

    Args:
        arguments: Of the command.
        environment: Variables to set beside those of this process.
        command: The program, where it is not the one that is tested here.
    """
    done = subprocess.run(
        [*(command or (sys.executable, "-m", "imagefinder")), *arguments],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def answer(*arguments: str | Path, **options: Any) -> Any:
    """What ``imagefinder ... --json`` prints; it has to succeed."""
    done = run(*arguments, "--json", **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
