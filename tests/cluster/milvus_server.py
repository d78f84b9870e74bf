"""A Milvus server for tests: the program of the package ``milvus``, which is a real server of version 2.3.

It listens on all addresses, so it runs only in a network without other interfaces (``make test-milvus``).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

SECONDS = 180


def missing() -> str:
    """Why no server can be started here; empty if one can."""
    for package in ("milvus", "pymilvus"):
        if importlib.util.find_spec(package) is None:
            return f"the package {package} is not installed (make test-milvus installs it)"
    interfaces = {line.partition(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]}
    if interfaces != {"lo"}:
        return "Milvus listens on all addresses; make test-milvus runs it in a network of its own"
    return ""


class MilvusProcess:
    """A server with its data in a folder of its own, until ``remove``; only one at a time."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="milvus-"))
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The location, as the setting ``vectors`` names it."""
        return f"milvus://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        programs = self.folder / "bin"
        if not programs.exists():  # later, the ports of a killed server would look taken
            script = (
                "import sys, milvus; config = milvus.MilvusServerConfig(data_dir=sys.argv[1]); config.resolve();"
                "milvus._initialize_data_files(sys.argv[1]); print(config.get('proxy_port'))"
            )
            command = [sys.executable, "-W", "ignore", "-c", script, self.folder]
            done = subprocess.run(command, check=True, timeout=SECONDS, capture_output=True, text=True)
            self._port = int(done.stdout)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [programs / "milvus", "run", "standalone"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    "PATH": os.environ.get("PATH", ""),
                    "HOME": str(self.folder),
                    "LD_LIBRARY_PATH": str(programs),
                    "DEPLOY_MODE": "STANDALONE",
                    "METRICS_PORT": "9091",
                    "MILVUS_RUN_DIR": str(self.folder / "run"),
                },
            )
        self._wait()

    def kill(self) -> None:
        """End the server at once, as the loss of its machine does."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(SECONDS)
            self._process = None

    def suspend(self) -> None:
        """Stop the server without ending it: connections are accepted, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after ``suspend``."""
        self._signal(signal.SIGCONT)

    def lose_data(self) -> None:
        """Kill the server and delete its data."""
        self.kill()
        shutil.rmtree(self.folder / "data")

    def remove(self) -> None:
        """End the server and delete its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, sign: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(sign)

    def _wait(self) -> None:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            assert self._process is not None
            assert self._process.poll() is None, f"the server ended:\n{self._log()}"
            with suppress(OSError), urllib.request.urlopen("http://127.0.0.1:9091/healthz", timeout=5) as answer:
                if b"OK" in answer.read():
                    return
            time.sleep(0.1)
        raise AssertionError(f"the server did not start:\n{self._log()}")

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2000:]
