"""The parts of the server in one object, which endpoints receive as ``ServiceDep``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, TypeVar, cast

from fastapi import Depends, Request
from starlette.requests import ClientDisconnect

from imagefinder.collection.previews import all_tags
from imagefinder.core.disk_cache import DiskCache
from imagefinder.core.errors import SettingsError, StoreError
from imagefinder.core.records import ImageRecord
from imagefinder.core.service_contracts import Keys
from imagefinder.core.settings import Settings
from imagefinder.images.fetching.fetcher import HttpFetcher
from imagefinder.images.fetching.public_addresses import require_public
from imagefinder.server import request_context
from imagefinder.server.admission import Admission
from imagefinder.server.collection_pool import CollectionPool
from imagefinder.server.errors import Problem
from imagefinder.server.fairness import FairPool, FairShare
from imagefinder.server.jobs.manager import JobManager
from imagefinder.server.metrics import Metrics
from imagefinder.server.ratelimit import SharedTokens
from imagefinder.server.readiness import Readiness
from imagefinder.server.request_context import Caller
from imagefinder.server.search_cache import SearchCache
from imagefinder.server.streams import EventStreams

log = logging.getLogger(__name__)

T = TypeVar("T")

BLOCKING_THREADS = 8
"""Number of threads for blocking work of short requests, such as lists. More would not make them faster, because
they share one interpreter, but each would delay the event loop."""


@dataclass(slots=True)
class Service:
    """The parts of the server.

    Attributes:
        settings: Settings of the server.
        collections: Collections by name.
        admission: Limits concurrent work.
        readiness: State of the warm-up and the methods.
        search_cache: Recent searches, by handle.
        jobs: Jobs: work that takes longer than a request.
        keys: API keys.
        metrics: Metrics for monitoring.
        version: Version of imagefinder.
        tokens: Rate limits that servers share; ``None``: this server counts alone.
        close_parts: Closes what the other parts share, after them.
        keys_required: Whether requests need a key.
        started_at: Time at which the server started.
        streams: Open event streams.
        fetcher: Downloads URLs from clients, with checked addresses.
        previews: Rendered previews, on the disk of this machine.
    """

    settings: Settings
    collections: CollectionPool
    admission: Admission
    readiness: Readiness
    search_cache: SearchCache
    jobs: JobManager
    keys: Keys
    metrics: Metrics
    version: str
    tokens: SharedTokens | None = None
    close_parts: Callable[[], None] = lambda: None
    keys_required: bool = False
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    streams: EventStreams = field(default_factory=EventStreams)
    fetcher: HttpFetcher = field(init=False)
    previews: DiskCache = field(init=False)
    _downloads: FairPool = field(init=False)
    _blocking: FairPool = field(init=False)
    _monitoring: FairPool = field(init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        self.fetcher = HttpFetcher(
            timeout=settings.url_seconds,
            deadline=settings.url_seconds,
            max_bytes=settings.max_image_bytes,
            retries=0,
            connections=settings.fetch_connections,
            check=None if settings.fetch_private else require_public,
        )
        self.previews = _preview_cache(settings)
        # A download waits instead of computing, so it needs no place among the computing requests.
        downloads = FairShare(settings.fetch_connections)
        self._downloads = FairPool(settings.fetch_connections, name="imagefinder-fetch", share=downloads)
        blocking = FairShare(BLOCKING_THREADS)
        self._blocking = FairPool(BLOCKING_THREADS, name="imagefinder-block", share=blocking)
        self._monitoring = FairPool(1, name="imagefinder-monitor", share=FairShare(1))

    async def download(self, url: str) -> bytes:
        """Download the image at a URL from a client.

        Raises:
            Problem: ``url_queries_off``; ``timed_out``: the request has no time left.
            FetchError: the download failed, or the address is not allowed.
            ImageTooLargeError: the file is too large.
        """
        if not self.settings.url_queries:
            raise Problem(
                "url_queries_off", "this server does not accept image URLs", hint="upload the image", field="url"
            )
        deadline = self.admission.deadline()
        loop = asyncio.get_running_loop()

        def fetch() -> bytes:
            # The thread ends just after the request: nothing else could stop it.
            return self.fetcher.fetch(url, seconds=deadline - loop.time() + 1 if deadline else None)

        try:
            async with asyncio.timeout_at(deadline) as clock:
                return await self._downloads.run(request_context.client(), fetch)
        except TimeoutError:
            if not clock.expired():
                raise
            raise self.admission.timed_out(f"did not download {url[:200]}", field="url", urls=[url]) from None

    def discard_previews(self, records: Iterable[ImageRecord]) -> None:
        """Delete the cached previews of images that were removed."""
        for tag in (tag for record in records for tag in all_tags(record)):
            self.previews.discard(preview_name(tag))

    async def block(self, work: Callable[[], T]) -> T:
        """Run the blocking work of a short request in a thread; the waiting clients take turns.

        Raises:
            ClientDisconnect: the client has disconnected, and the work has not started.
        """
        request = request_context.current.get()

        def task() -> T:
            if request is not None and request.gone():
                raise ClientDisconnect
            return work()

        return await self._blocking.run(request_context.client(), task)

    async def monitor(self, work: Callable[[], T]) -> T:
        """Run work for monitoring in a thread that other requests do not use."""
        return await self._monitoring.run(request_context.client(), work)

    def close(self) -> None:
        """Cancel the downloads; close the keys and the threads."""
        self.keys.close()
        self.fetcher.close()
        self._downloads.close()
        self._blocking.close()
        self._monitoring.close()
        self.admission.close()

    def is_valid(self, caller: Caller) -> bool:
        """Whether a caller may still use the server: its key was not revoked since its request began."""
        if not self.keys_required:
            return True
        try:
            return self.keys.exists(caller.sha256)
        except StoreError as error:
            log.error("event streams end because the keys cannot be read: %s", error.message)  # noqa: TRY400
            return False

    async def end_streams(self) -> None:
        """End the event streams at shutdown; each one first reports the state of its job."""
        self.jobs.stop_watchers()
        await self.streams.end()


def preview_name(tag: str) -> str:
    """The name of a preview in the cache."""
    return f"{tag[:2]}/{tag}"


def _preview_cache(settings: Settings) -> DiskCache:
    try:
        folder, most = settings.folder("scratch"), settings.preview_cache_bytes
    except SettingsError as error:  # no home folder
        folder, most = settings.scratch, 0
        if settings.preview_cache_bytes:
            log.warning("previews are not cached: %s", error.message)
    return DiskCache(folder / "previews", most, what="previews")


async def _service(request: Request) -> Service:
    return cast(Service, request.app.state.service)


ServiceDep = Annotated[Service, Depends(_service)]
