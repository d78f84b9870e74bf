"""A PostgreSQL primary and a synchronous standby, made as an administrator makes them: by ``pg_basebackup``."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from processes import descendants

from .postgres_server import USER, PostgresServer

STANDBY = "standby"
SECONDS = 30

PRIMARY_SETTINGS = {
    "synchronous_commit": "remote_apply",
    "wal_keep_size": "512MB",
    "wal_log_hints": "on",
}
"""Settings of both servers: what is acknowledged can be read on the standby."""


class Replicas:
    """Two servers on this machine; everything that one acknowledges is on both.

    Attributes:
        primary: Accepts writes.
        standby: Accepts reads, and becomes the primary by ``promote``.
    """

    def __init__(self) -> None:
        self.primary = PostgresServer(settings=PRIMARY_SETTINGS)
        self.standby = PostgresServer(settings=PRIMARY_SETTINGS)

    def start(self) -> None:
        """Start both, and wait until the standby is synchronous."""
        self.primary.start()
        self.standby.password = self.primary.password
        source = f"host=127.0.0.1 port={self.primary.port} user={USER} application_name={STANDBY}"
        self.standby.run(
            "pg_basebackup", f"--pgdata={self.standby.data}", f"--dbname={source}", "--write-recovery-conf",
            "--wal-method=stream", "--checkpoint=fast", "--no-sync",
        )  # fmt: skip
        self.standby.start()
        self.primary.execute(f"ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ({STANDBY})'")
        self.primary.execute("SELECT pg_reload_conf()")
        self.wait_for_standby()

    def wait_for_standby(self) -> None:
        """Wait until the primary waits for the standby with each commit."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if self.primary.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')"):
                return
            time.sleep(0.05)
        raise AssertionError(f"the standby is not synchronous:\n{self.standby.log.read_text()[-2000:]}")

    def promote(self) -> None:
        """Make the standby the primary, as the administrator does after the loss of the primary."""
        self.standby.execute("SELECT pg_promote()")

    def url(self, path: str) -> str:
        """The URL of a database or collection on both servers; libpq finds the one that accepts writes."""
        hosts = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return f"postgresql://{USER}:{self.primary.password}@{hosts}/{path}"

    def remove(self) -> None:
        """Kill both servers, and delete their data."""
        for server in (self.standby, self.primary):
            resume(server)
            server.remove()


def hang(server: PostgresServer) -> None:
    """Stop all processes of a server without ending them, as a machine that swaps or a dead disk does."""
    _signal(server, signal.SIGSTOP)


def resume(server: PostgresServer) -> None:
    """Let the processes of a server go on."""
    _signal(server, signal.SIGCONT)


def _signal(server: PostgresServer, sign: signal.Signals) -> None:
    try:
        pid = server.pid
    except AssertionError:  # it does not run
        return
    for one in [pid, *descendants(pid)]:
        if Path(f"/proc/{one}").exists():
            os.kill(one, sign)
