"""A worker: a process without HTTP that does the jobs in a database."""

from __future__ import annotations

import logging
import logging.config
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

from imagefinder.collection import Collection
from imagefinder.core.errors import SettingsError
from imagefinder.core.location import shown
from imagefinder.core.service_contracts import Catalogue, PortionedJobs
from imagefinder.core.settings import Settings
from imagefinder.images.fetching.public_addresses import require_public
from imagefinder.server import logs
from imagefinder.server.jobs.roots import resolve_roots
from imagefinder.server.jobs.runner import Runner
from imagefinder.server.parts import Parts, make_parts
from imagefinder.stores.distributed.address import Address
from imagefinder.wiring import open_collection

log = logging.getLogger(__name__)

_THREADS = 2
"""Number of threads if the setting ``concurrent_jobs``, which servers may share, is 0."""

_MAX_TASKS = 128
"""Number of portions that one command has on a Ray cluster at a time; each has a thread here."""


class OpenCollections:
    """The collections of a catalogue, opened on first use; safe to use from several threads."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._open: dict[str, Collection] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Collection:
        """The collection with this name.

        Raises:
            StoreError: it does not exist or cannot be opened.
        """
        with self._lock:
            opened = self._open.get(name)
            if opened is not None and not opened.is_in_place():
                self._open.pop(name).close()
                opened = None
            if opened is None:
                settings = replace(self._settings, collection=self._catalogue.location(name))
                opened = self._open[name] = open_collection(settings, create=False)
            return opened

    def close(self) -> None:
        """Close all collections."""
        with self._lock:
            for opened in self._open.values():
                opened.close()
            self._open.clear()


def run(settings: Settings, *, only: str | None = None) -> None:
    """Do the jobs in the database of the settings until SIGTERM or Ctrl-C.

    Args:
        settings: The settings; ``collections`` is the database.
        only: Name of the only collection whose jobs are done; ``None``: those of all.

    Raises:
        SettingsError: the database is of an unknown kind.
        StoreError: the database cannot be used.
    """
    logging.config.dictConfig(logs.configuration(settings.log_format))
    stop = _stopped_by_signals()
    parts = make_parts(settings, only=only)
    collections = OpenCollections(settings, parts.catalogue)
    runner = _runner(settings, parts, collections, threads=settings.concurrent_jobs or _THREADS)
    log.info("working on %s in %s", only or "all collections", shown(settings.database))
    runner.start()
    stop.wait()
    log.info("stopping after the images in progress")
    parts.jobs.interrupt()
    runner.join(settings.shutdown_seconds)
    parts.jobs.close()
    if runner.is_working:  # a thread cannot be stopped, and Python would wait for it without a limit
        log.warning("stopped in the middle of a portion, which another worker will take")
        logging.shutdown()
        os._exit(0)
    collections.close()
    parts.close()


@contextmanager
def on_ray(settings: Settings, only: str, address: str) -> Iterator[None]:
    """Do the jobs of a collection during the block; portions are added as tasks of a Ray cluster.

    Args:
        settings: The settings; ``collections`` is the database. Each task uses ``threads`` cores.
        only: Name of the collection.
        address: Address of the head node of the cluster; see ``Cluster``.

    Raises:
        SettingsError: the cluster cannot be used, its package is not installed, or the location has a password.
        StoreError: the database cannot be used.
    """
    from imagefinder.indexing.on_ray import Cluster  # noqa: PLC0415 - only this needs Ray
    from imagefinder.server.jobs.remote import RemoteWork, add_portion  # noqa: PLC0415 - as above

    if "password" in dict(Address.of_collection(settings.collection).parameters):
        raise SettingsError(
            "the location of the collection has a password, which every machine of the Ray cluster would see",
            hint="put it into a file, and name that in the setting database_password_file on all machines",
        )
    parts = make_parts(settings, only=only)
    collections = OpenCollections(settings, parts.catalogue)
    try:
        with Cluster(address, add_portion, cores=settings.threads) as cluster:
            assert isinstance(parts.jobs, PortionedJobs)  # noqa: S101 - narrows the type: they are in a database
            # Twice as many tasks as have a place: machines that join find some, and none waits for its next one.
            threads = min(2 * cluster.places, _MAX_TASKS) + 1  # one for whole jobs
            runner = _runner(settings, parts, collections, threads=threads)
            runner.portioned = RemoteWork(parts.jobs, cluster)
            runner.start()
            try:
                yield
            finally:
                parts.jobs.interrupt()
                runner.join(settings.shutdown_seconds)
                parts.jobs.close()
    finally:
        collections.close()
        parts.close()


def _runner(settings: Settings, parts: Parts, collections: OpenCollections, *, threads: int) -> Runner:
    return Runner(
        parts.jobs,
        collections.get,
        roots=resolve_roots(settings.job_roots),
        list_path=parts.list_path,
        threads=threads,
        check_address=None if settings.fetch_private else require_public,
    )


def _stopped_by_signals() -> threading.Event:
    """An event that is set by the first SIGTERM or SIGINT; the second one ends the process."""
    stop = threading.Event()
    default: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def request(number: int, frame: FrameType | None) -> None:
        del frame
        stop.set()
        signal.signal(number, default[number] or signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        default[number] = signal.signal(number, request)
    return stop
