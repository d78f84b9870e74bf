"""Nodes of a Ray cluster on this machine, for tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from processes import descendants

SECONDS = 90


class RayNode:
    """One node with one core; a context manager that kills all of its processes."""

    def __init__(self, head: RayNode | None = None, *, environment: Mapping[str, str]) -> None:
        """Store the node to join; without one, this node is the head of a new cluster."""
        self._head = head
        # A node gives up when its parts need more than some seconds to start.
        slow = {"RAY_agent_register_timeout_ms": "200000", "RAY_USAGE_STATS_ENABLED": "0"}
        self._environment = {**os.environ, **slow, **environment}
        self.port = head.port if head else _free_port()

    @property
    def address(self) -> str:
        """Address of the head."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> RayNode:
        self.folder = tempfile.TemporaryDirectory(prefix="ray-")
        command = ["nice", "-n", "-15"] if os.geteuid() == 0 else []
        command += [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
        command += ["--node-ip-address=127.0.0.1", "--object-store-memory=80000000", "--disable-usage-stats"]
        if self._head:
            command += [f"--address={self.address}"]
        else:
            command += ["--head", f"--port={self.port}", "--include-dashboard=false"]
            command += [f"--temp-dir={self.folder.name}"]
        low = _free_port()
        command += [f"--min-worker-port={low + 1}", f"--max-worker-port={low + 60}"]
        self.log = Path(self.folder.name, "log")
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)
        end = time.monotonic() + SECONDS
        while "Ray runtime started" not in self.log.read_text(errors="replace"):
            assert self._process.poll() is None, self.log.read_text(errors="replace")
            assert time.monotonic() < end, self.log.read_text(errors="replace")
            time.sleep(0.1)
        return self

    def kill(self) -> None:
        """End all processes of the node at once, as the loss of its machine does."""
        processes = [self._process.pid, *descendants(self._process.pid)]
        for pid in processes:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait(SECONDS)

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.folder.cleanup()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
