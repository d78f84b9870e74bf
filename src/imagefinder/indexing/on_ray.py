"""Calls of functions on the machines of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any, TypeVar

from imagefinder.core.errors import SettingsError

try:
    import ray
    from ray import exceptions
except ImportError as error:
    raise SettingsError(
        f"Ray needs a package that is not installed: {error.name}", hint="pip install 'imagefinder[cluster,ray]'"
    ) from error

T = TypeVar("T")

RETRIES = 3
"""How often Ray runs a function again whose process or machine has died."""

_WAKE_UP = 0.5  # seconds between checks for a stop request


class RayWorkersDiedError(Exception):
    """The processes or machines that ran a function have died, ``RETRIES`` times in a row."""


class Cluster:
    """A Ray cluster; a context manager that disconnects from it."""

    def __init__(self, address: str, *, cores: int) -> None:
        """Connect to a cluster.

        Args:
            address: Address of its head node, such as ``10.0.0.1:6379``; ``auto``: of the cluster on this machine.
            cores: Number of cores that each function uses.

        Raises:
            SettingsError: there is no cluster at this address.
        """
        try:
            ray.init(address=address, log_to_driver=False, configure_logging=False)
        except (ConnectionError, RuntimeError, ValueError, exceptions.RayError) as error:
            reason = str(error).partition("\n")[0]
            raise SettingsError(
                f"no Ray cluster at {address}: {reason}",
                hint="give the address of its head node, such as 10.0.0.1:6379",
            ) from error
        self._cores = cores

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        ray.shutdown()

    @property
    def places(self) -> int:
        """Number of functions that can run at the same time now, at least one."""
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call] # of ray
        return max(1, int(resources.get("CPU", 1) // self._cores))

    def call(self, function: Callable[..., T], *arguments: Any, stop: Event) -> T | None:
        """Run a function somewhere in the cluster and return its result; ``None`` if ``stop`` was set first.

        Raises:
            RayWorkersDiedError: its processes have died.
            Exception: what the function raises.
        """
        remote = ray.remote(num_cpus=self._cores, max_retries=RETRIES)(function)
        pending = remote.remote(*arguments)
        while not ray.wait([pending], timeout=_WAKE_UP)[0]:
            if stop.is_set():
                ray.cancel(pending)
                return None
        try:
            return ray.get(pending)  # type: ignore[no-any-return] # the result of the function
        except (exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.OutOfMemoryError) as error:
            raise RayWorkersDiedError(str(error)) from error
        except exceptions.TaskCancelledError:
            return None
