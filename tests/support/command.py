"""Runs the command line as a separate process."""

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
    """Run ``imagefinder`` and wait for it.

    Args:
        arguments: Command and its arguments.
        environment: Additional environment variables.
        command: Program to run instead of this source tree.
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
    """Run ``imagefinder ... --json``, which must succeed, and return the document."""
    done = run(*arguments, "--json", **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
