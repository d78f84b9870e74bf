"""Calls of a function on the machines of a Ray cluster."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from imagefinder.core.errors import SettingsError

try:
    import ray
    from ray import exceptions
except ImportError as error:
    raise SettingsError(
        f"Ray needs a package that is not installed: {error.name}", hint="pip install 'imagefinder[cluster,ray]'"
    ) from error

T = TypeVar("T")

CLIENT_SCHEME = "ray://"

CONNECT_SECONDS = 5.0
"""Time to reach the head node."""

ANSWER_SECONDS = 60.0
"""Time for the head node to answer; Ray itself tries again for many minutes."""

_WAKE_UP = 0.5  # seconds between checks for a stop request

_MESSAGE = 500  # characters
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

_DIED = (
    exceptions.WorkerCrashedError,
    exceptions.NodeDiedError,
    exceptions.LocalRayletDiedError,
    exceptions.OutOfMemoryError,
    exceptions.ObjectLostError,
)


class TaskDiedError(Exception):
    """The process that ran a task, or its machine, has died."""


class TaskImpossibleError(Exception):
    """A task cannot run in this cluster; the message says why."""


class Cluster(Generic[T]):
    """A Ray cluster that runs one function; a context manager that disconnects from it.

    Ray repeats nothing: the caller decides what to do when a process or machine has died.
    """

    def __init__(self, address: str, function: Callable[..., T], *, cores: int) -> None:
        """Connect to a cluster.

        Args:
            address: Address of its head node, such as ``10.0.0.1:6379``, from a machine of the cluster;
                ``auto``: of the cluster of this machine; ``ray://10.0.0.1:10001`` from any other machine.
            function: The function, which all machines of the cluster can import.
            cores: Number of cores that each call uses.

        Raises:
            SettingsError: there is no cluster at this address, it has another version of Ray or Python, or none of
                its machines has as many cores.
        """
        _connect(address)
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call] # of ray
        cpus = [node["Resources"].get("CPU", 0.0) for node in nodes if node["Alive"]]
        self.places = sum(int(cpu // cores) for cpu in cpus)
        """Number of tasks that could run at the same time when the connection was made."""
        if not self.places:
            ray.shutdown()
            raise SettingsError(
                f"each task needs {cores} cores (setting threads), and the largest machine of the Ray cluster has "
                f"{max(cpus, default=0.0):g}",
                hint="set threads to the cores that one task may use, for example IMAGEFINDER_THREADS=1",
            )
        self._function = ray.remote(num_cpus=cores, max_retries=0)(function)

    def __enter__(self) -> Cluster[T]:
        self._printing = contextlib.redirect_stdout(sys.stderr)  # Ray prints what happens to its machines
        self._printing.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        ray.shutdown()
        self._printing.__exit__(None, None, None)

    def call(self, *arguments: Any, stop: threading.Event) -> T | None:
        """Call the function somewhere in the cluster; ``None`` if ``stop`` was set first.

        Raises:
            TaskDiedError: its process or machine has died.
            TaskImpossibleError: the machine cannot run the function, or it raised an error.
        """
        pending = self._function.remote(*arguments)
        while not ray.wait([pending], timeout=_WAKE_UP)[0]:
            if stop.is_set():
                ray.cancel(pending)  # a KeyboardInterrupt there
                return None
        try:
            return ray.get(pending)  # type: ignore[no-any-return] # the result of the function
        except exceptions.TaskCancelledError:
            return None
        except _DIED as error:
            raise TaskDiedError(_text(error)) from error
        except (exceptions.RayError, RuntimeError) as error:
            raise TaskImpossibleError(_text(error)) from error


def _connect(address: str) -> None:
    """Connect this process to a cluster, within a limited time."""
    _check_reachable(address)
    failed: list[BaseException] = []

    def connect() -> None:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except BaseException as error:  # whatever it is, it is why there is no connection
            failed.append(error)

    # In a thread, so that Ray neither replaces the signal handlers of this process nor blocks it.
    thread = threading.Thread(target=connect, name="imagefinder-ray", daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if thread.is_alive():
        raise _no_cluster(address, f"no answer within {ANSWER_SECONDS:g} s")
    if failed:
        raise _no_cluster(address, _text(failed[0])) from failed[0]


def _check_reachable(address: str) -> None:
    """Connect to the port of an address once, because Ray would try for minutes.

    Raises:
        SettingsError: it is not an address, or no server listens there.
    """
    if address == "auto":
        return
    host, _, port = address.removeprefix(CLIENT_SCHEME).rpartition(":")
    if not (host and port.isascii() and port.isdecimal() and int(port) < 1 << 16):
        raise _no_cluster(address, "it is not HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, UnicodeError) as error:
        raise _no_cluster(address, str(error)) from error


def _no_cluster(address: str, reason: str) -> SettingsError:
    return SettingsError(
        f"no Ray cluster can be used at {address}: {reason}",
        hint="give the address of its head node: HOST:6379 from a machine of the cluster, and ray://HOST:10001 "
        "from any other one; versions of Ray and Python must be the same everywhere, and a cluster with "
        "authentication requires its token (RAY_AUTH_MODE=token, RAY_AUTH_TOKEN)",
    )


def _text(error: BaseException) -> str:
    """The message of an error of Ray in one line; the end of a long one, which has the cause."""
    text = " ".join(_COLOURS.sub("", str(error)).split())
    return text if len(text) <= _MESSAGE else f"... {text[-_MESSAGE:]}"
