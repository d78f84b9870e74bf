"""The parts of the server, joined; endpoints get them as ``ServiceDep``."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, cast

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request

from imagefinder.core.settings import Settings
from imagefinder.images.fetching.fetcher import HttpFetcher
from imagefinder.images.fetching.public_addresses import require_public
from imagefinder.server.admission import Admission
from imagefinder.server.collections import Collections
from imagefinder.server.errors import Problem
from imagefinder.server.explanations import Explanations
from imagefinder.server.jobs.manager import JobManager
from imagefinder.server.keys import Keys
from imagefinder.server.metrics import Metrics
from imagefinder.server.middleware import EventStreams
from imagefinder.server.readiness import Readiness


@dataclass(slots=True)
class Service:
    """The parts of the server.

    Attributes:
        settings: Of the server.
        collections: By name.
        admission: Limits concurrent work.
        readiness: Which methods work.
        explanations: Recent queries, by handle.
        jobs: Long work.
        keys: The keys of clients.
        metrics: Counts searches.
        version: Of imagefinder.
        keys_required: Whether requests need a key.
        started_at: When the server started.
        streams: The open streams of events.
        fetcher: Downloads URLs that clients give; addresses are checked.
    """

    settings: Settings
    collections: Collections
    admission: Admission
    readiness: Readiness
    explanations: Explanations
    jobs: JobManager
    keys: Keys
    metrics: Metrics
    version: str
    keys_required: bool = False
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    streams: EventStreams = field(default_factory=EventStreams)
    fetcher: HttpFetcher = field(init=False)
    _downloads: CapacityLimiter = field(init=False)

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
        self._downloads = CapacityLimiter(settings.fetch_connections)

    async def download(self, url: str) -> bytes:
        """The image behind a URL that a client gave.

        Raises:
            Problem: ``url_queries_off``.
            FetchError: the download failed, or the address is not allowed.
            ImageTooLargeError: it is too large.
        """
        if not self.settings.url_queries:
            raise Problem(
                "url_queries_off", "this server downloads nothing", hint="send the picture itself", field="url"
            )
        # Not admitted as work: who waits for another server computes nothing.
        return await to_thread.run_sync(self.fetcher.fetch, url, limiter=self._downloads, abandon_on_cancel=True)

    async def end_streams(self) -> None:
        """End the streams of events, as the server is about to stop; each first reports the state of its job."""
        self.jobs.end_watching()
        await self.streams.end()


async def _service(request: Request) -> Service:
    return cast(Service, request.app.state.service)


ServiceDep = Annotated[Service, Depends(_service)]
