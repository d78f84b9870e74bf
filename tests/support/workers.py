"""Workers in separate processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping


class Worker:
    """A running worker; a context manager that kills it if it still runs.

    Attributes:
        process: The process.
        lines: Log lines so far.
    """

    def __init__(self, *arguments: str, environment: Mapping[str, str]) -> None:
        """Store the arguments of ``imagefinder work``, and the environment variables in addition to those here."""
        self._command = (sys.executable, "-W", "error", "-m", "imagefinder", "work", *arguments)
        self._environment = {**os.environ, "HF_HUB_OFFLINE": "1", **environment}
        self.lines: list[str] = []

    def __enter__(self) -> Worker:
        self.process = subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout or ()), daemon=True)
        self._reader.start()
        end = time.monotonic() + 90
        while "working on" not in self.log:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.02)
        return self

    @property
    def log(self) -> str:
        """The log so far."""
        return "".join(self.lines)

    def stop(self, seconds: float = 60) -> int:
        """Send SIGTERM, and wait for the end; returns the exit code."""
        self.process.terminate()
        return self.process.wait(seconds)

    def kill(self) -> None:
        """Send SIGKILL, and wait for the end."""
        self.process.kill()
        self.process.wait()

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._reader.join(10)
        if self.process.stdout:
            self.process.stdout.close()
