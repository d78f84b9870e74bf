"""Two PostgreSQL servers under Patroni with etcd: when the primary is lost, the standby takes over by itself."""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from processes import descendants

from . import postgres_server
from .postgres_server import USER, free_port, programs_for

TTL = 20
"""Seconds until a primary that says nothing has lost its role; Patroni accepts no smaller number."""

SECONDS = 120


def missing() -> str:
    """Why no cluster can be started here; empty if one can."""
    if reason := postgres_server.missing():
        return reason
    if importlib.util.find_spec("patroni") is None:
        return "the package patroni is not installed (pip install 'patroni[etcd3]')"
    if shutil.which("etcd") is None:
        return "etcd is not installed (Debian: apt-get install etcd-server)"
    return "" if interpreter() else "no Python that the user nobody can read (install python3 for all users)"


class Node:
    """One machine of the cluster: Patroni and its PostgreSQL server.

    Attributes:
        name: Name of the node.
        port: Port of PostgreSQL.
        api: Port of Patroni's REST interface.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder / name
        self.port, self.api = free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def state(self) -> dict[str, Any]:
        """What Patroni says about this node; empty if it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.api}/patroni", timeout=2) as answer:
                return dict(json.load(answer))
        except OSError as error:
            body = getattr(error, "read", lambda: b"")()
            return dict(json.loads(body)) if body.startswith(b"{") else {}

    def pids(self) -> list[int]:
        """Process ids of Patroni and everything of its PostgreSQL server, which is not its child."""
        found = []
        if self.process is not None and self.process.poll() is None:
            found += [self.process.pid, *descendants(self.process.pid)]
        try:
            postmaster = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return found
        command = Path(f"/proc/{postmaster}/cmdline")
        if command.exists() and str(self.folder).encode() in command.read_bytes():
            found += [postmaster, *descendants(postmaster)]
        return found


class PatroniCluster:
    """etcd and two nodes on this machine.

    Attributes:
        nodes: The nodes ``a`` and ``b``.
        password: Password of the superuser.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="patroni-"))
        self.password = secrets.token_urlsafe(12)
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user:
            entry = pwd.getpwnam(self._user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        self._programs = programs_for(self.folder, self._as_user())
        self._etcd: subprocess.Popen[bytes] | None = None
        self._etcd_port = free_port()
        self.nodes = [Node(name, self.folder) for name in "ab"]

    def start(self) -> None:
        """Start everything, and wait until both nodes hold the same data."""
        peer = f"http://127.0.0.1:{free_port()}"
        client = f"http://127.0.0.1:{self._etcd_port}"
        self._etcd = self._spawn(
            ["etcd", f"--data-dir={self.folder / 'etcd'}", f"--listen-client-urls={client}",
             f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
             f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}", "--unsafe-no-fsync"],
            "etcd",
        )  # fmt: skip
        for node in self.nodes:
            self.begin(node)
        self.wait_until_whole()

    def begin(self, node: Node) -> None:
        """Start the Patroni of a node, which starts PostgreSQL, or makes it a standby of the other node."""
        file = self.folder / f"{node.name}.json"
        file.write_text(json.dumps(self._configuration(node)))  # JSON is YAML
        python, paths = interpreter() or (sys.executable, "")
        node.process = self._spawn(
            [python, "-S", "-m", "patroni", str(file)],
            node.name,
            PYTHONPATH=paths,
            PATRONICTL_CONFIG_FILE=str(file),
        )

    def primary(self) -> Node | None:
        """The node that accepts writes; ``None`` while there is none. Patroni may report the one of before."""
        import psycopg

        for node in self.nodes:
            try:
                with psycopg.connect(f"{self.url('postgres', node)}?connect_timeout=2") as connection:
                    if connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,):
                        return node
            except psycopg.OperationalError:
                continue
        return None

    def wait_until_whole(self) -> Node:
        """Wait until there is a primary with a synchronous standby; returns the primary."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            primary = self.primary()
            # Before etcd knows that a standby is synchronous, Patroni does not let it take over.
            if primary and any(node.state().get("sync_standby") for node in self.nodes if node is not primary):
                return primary
            time.sleep(0.2)
        logs = {name: (self.folder / f"{name}.log").read_text()[-1500:] for name in "ab"}
        raise AssertionError(f"the cluster did not become whole: {logs}")

    def kill(self, node: Node, *, with_patroni: bool) -> None:
        """End PostgreSQL at once and, as when the machine is lost, Patroni as well."""
        own = {node.process.pid, *descendants(node.process.pid)} if node.process else set()
        pids = [pid for pid in node.pids() if with_patroni or pid not in own]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if with_patroni and node.process:
            node.process.wait(30)

    def execute(self, statement: str) -> None:
        """Run one statement in autocommit mode on the primary."""
        import psycopg

        url = self.url("postgres?target_session_attrs=read-write")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)

    def url(self, path: str, *nodes: Node) -> str:
        """The URL of a database or collection on some nodes; default: on both."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes or self.nodes)
        return f"postgresql://{USER}:{self.password}@{hosts}/{path}"

    def remove(self) -> None:
        """Kill everything and delete the data."""
        for node in self.nodes:
            self.kill(node, with_patroni=True)
            self.kill(node, with_patroni=True)  # Patroni may have been starting PostgreSQL
        if self._etcd is not None:
            self._etcd.kill()
            self._etcd.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _configuration(self, node: Node) -> dict[str, Any]:
        users = {
            "superuser": {"username": USER, "password": self.password},
            "replication": {"username": "replicator", "password": self.password},
            "rewind": {"username": USER, "password": self.password},
        }
        parameters = {
            "synchronous_commit": "remote_apply",
            "wal_keep_size": "512MB",
            "wal_log_hints": "on",
            "max_connections": 100,
            "shared_buffers": "64MB",
            "unix_socket_directories": str(self.folder),
        }
        return {
            "scope": "imagefinder",
            "name": node.name,
            "log": {"level": "INFO"},
            "restapi": {"listen": f"127.0.0.1:{node.api}", "connect_address": f"127.0.0.1:{node.api}"},
            "etcd3": {"host": f"127.0.0.1:{self._etcd_port}"},
            "bootstrap": {
                "dcs": {
                    "ttl": TTL,
                    "loop_wait": 1,
                    "retry_timeout": 3,
                    "primary_start_timeout": 0,  # a standby takes over instead of waiting for recovery
                    "synchronous_mode": True,
                    "postgresql": {"use_pg_rewind": True, "parameters": parameters},
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums"],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{node.port}",
                "connect_address": f"127.0.0.1:{node.port}",
                "data_dir": str(node.folder / "data"),
                "bin_dir": str(self._programs),
                "pgpass": str(self.folder / f"{node.name}.pgpass"),
                "authentication": users,
                "pg_hba": [
                    "host all all 127.0.0.1/32 scram-sha-256",
                    "host replication all 127.0.0.1/32 scram-sha-256",
                    "local all all scram-sha-256",
                ],
            },
        }

    def _spawn(self, command: list[str], name: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    "PATH": f"{self._programs}:{os.environ.get('PATH', '')}",
                    "HOME": str(self.folder),
                    "LC_ALL": "C",
                    **environment,
                },
                **self._as_user(),
            )

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {"cwd": self.folder}
        entry = pwd.getpwnam(self._user)
        return {"cwd": self.folder, "user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def interpreter() -> tuple[str, str] | None:
    """A Python of this version that the user of the servers can run, and its ``PYTHONPATH``.

    It is run with ``-S``: packages of the system's Python do not go with ours.
    """
    packages = os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    if os.geteuid() != 0:
        return sys.executable, packages
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    nobody = pwd.getpwnam("nobody")
    for python in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        try:
            tried = subprocess.run(
                [python, "-S", "-c", "import patroni, psycopg, yaml"],
                env={"PYTHONPATH": packages},
                cwd="/",
                user=nobody.pw_uid,
                group=nobody.pw_gid,
                extra_groups=[],
                capture_output=True,
                check=False,
            )
        except OSError:
            continue
        if tried.returncode == 0:
            return python, packages
    return None
