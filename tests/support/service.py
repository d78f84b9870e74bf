"""The service in a separate process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

START = """
from imagefinder.core.settings import Settings
from imagefinder.server.app import serve
serve(Settings.load())
"""


class Service:
    """A running server with its data in one folder; a context manager that stops it.

    Attributes:
        folder: Folder of its collections and state.
        url: Base URL.
        process: The server process.
        lines: Log lines so far.
    """

    def __init__(
        self,
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str | Path] = (sys.executable, "-W", "error", "-c", START),
        **settings: str,
    ) -> None:
        """Store the arguments.

        Args:
            folder: Folder of its collections and state.
            environment: Environment variables in addition to those of this process.
            command: Command that starts the server.
            settings: Setting name -> value.
        """
        self.folder = folder
        self._environment = environment or {}
        self._command = command
        self._settings = {
            "IMAGEFINDER_COLLECTION": str(folder / "default"),
            "IMAGEFINDER_COLLECTIONS": str(folder / "collections"),
            "IMAGEFINDER_STATE": str(folder / "state"),
            "IMAGEFINDER_MODELS": str(folder / "models"),
            "IMAGEFINDER_PORT": "0",
            "HF_HUB_OFFLINE": "1",
            **{f"IMAGEFINDER_{name.upper()}": value for name, value in settings.items()},
        }
        self.lines: list[str] = []

    def __enter__(self) -> Service:
        self.process = subprocess.Popen(
            self._command,
            env={**os.environ, **self._environment, **self._settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout or ()), daemon=True)
        self._reader.start()
        end = time.monotonic() + 90
        while not (found := re.search(r"listening on (http://\S+)", "".join(self.lines))):
            assert self.process.poll() is None, "".join(self.lines)
            assert time.monotonic() < end, "".join(self.lines)
            time.sleep(0.02)
        self.url = found[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join(10)
            if self.process.stdout:
                self.process.stdout.close()
