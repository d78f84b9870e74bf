"""Nodes of a Ray cluster on this machine, for tests.

Ray takes the address of the machine for 127.0.0.1 and listens on all of them, so the nodes demand a token.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from processes import descendants

SECONDS = 90
STARTS = 3


def missing() -> str:
    """Why no node can be started here; empty if one can."""
    return "" if importlib.util.find_spec("ray") else "Ray is not installed (pip install 'imagefinder[ray]')"


class RayNode:
    """One node; a context manager that kills all of its processes.

    Attributes:
        port: Port of the head.
        environment: What processes need to use the cluster.
    """

    def __init__(self, head: RayNode | None = None, *, environment: Mapping[str, str], cores: int = 1) -> None:
        """Store the node to join; without one, this node is the head of a new cluster."""
        self._cores = cores
        self._head = head
        self.port = head.port if head else _free_port()
        self._client_port = _free_port()
        if head:
            self.environment = head.environment
        else:
            self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        # A node gives up when its parts need more than some seconds to start.
        slow = {"RAY_agent_register_timeout_ms": "200000", "RAY_USAGE_STATS_ENABLED": "0"}
        self._environment = {**os.environ, **slow, **self.environment, **environment}

    @property
    def address(self) -> str:
        """Address of the head."""
        return f"127.0.0.1:{self.port}"

    @property
    def client_address(self) -> str:
        """Address of the head for machines that are not in the cluster."""
        return f"ray://127.0.0.1:{self._client_port}"

    def __enter__(self) -> RayNode:
        for start in range(STARTS):
            self._folder = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
            try:
                self._start()
            except AssertionError:  # on a busy machine: a node gives up after 30 s, which cannot be set
                self.__exit__()
                if start == STARTS - 1:
                    raise
            else:
                break
        return self

    def _start(self) -> None:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--num-cpus={self._cores}"]
        command += ["--node-ip-address=127.0.0.1", "--object-store-memory=80000000", "--disable-usage-stats"]
        if self._head:
            command += [f"--address={self.address}"]
        else:
            command += ["--head", f"--port={self.port}", "--include-dashboard=false"]
            command += [f"--ray-client-server-port={self._client_port}"]
            command += [f"--temp-dir={self._folder.name}"]
        low = _free_port()
        command += [f"--min-worker-port={low + 1}", f"--max-worker-port={low + 60}"]
        self.log = Path(self._folder.name, "log")
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=self._environment, start_new_session=True
            )
        with suppress(OSError):  # not root, or no groups: what counts on a busy machine is the group's priority
            Path(f"/proc/{self._process.pid}/autogroup").write_text("-15")
        end = time.monotonic() + SECONDS
        while "Ray runtime started" not in self.log.read_text(errors="replace"):
            assert self._process.poll() is None, self.log.read_text(errors="replace")
            assert time.monotonic() < end, self.log.read_text(errors="replace")
            time.sleep(0.1)

    @property
    def tasks(self) -> list[int]:
        """Ids of the processes that run tasks now."""
        return [pid for pid in descendants(self._process.pid) if _title(pid).startswith("ray::add_portion")]

    def kill(self) -> None:
        """End all processes of the node at once, as the loss of its machine does."""
        for pid in [self._process.pid, *descendants(self._process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(SECONDS)

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._folder.cleanup()


def _title(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    return ""


def _free_port() -> int:
    """A port that nobody listens on, below those that systems give to outgoing connections."""
    while True:
        port = 12_000 + secrets.randbelow(20_000)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
