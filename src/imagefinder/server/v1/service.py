"""What all resources of ``/v1`` work with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread

from imagefinder.core.records import ImageRecord
from imagefinder.core.settings import Settings
from imagefinder.images.addresses import only_public
from imagefinder.images.fetch import Fetcher
from imagefinder.server.collections import Collections
from imagefinder.server.errors import Problem
from imagefinder.server.explanations import Explanations
from imagefinder.server.gate import Gate
from imagefinder.server.metrics import Metrics
from imagefinder.server.readiness import Readiness

T = TypeVar("T")

JobKind = Literal["index", "put", "duplicates", "rebuild"]
JOB_KINDS: tuple[JobKind, ...] = ("index", "put", "duplicates", "rebuild")


class Job(Protocol):
    """A job, as far as it is told here."""

    @property
    def id(self) -> str:
        """Its name."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        ...


class Jobs(Protocol):
    """What starts work that takes longer than a request."""

    def start(self, kind: JobKind, collection: str, **spec: Any) -> Job:
        """Queue a job."""
        ...

    def start_put(
        self,
        collection: str,
        image_id: str,
        data: bytes,
        metadata: Mapping[str, Any] | None = None,
        *,
        uri: str = "",
    ) -> Job:
        """Queue the putting of one picture, which is on disk on return."""
        ...

    def find(self, kind: JobKind, collection: str) -> Job | None:
        """A job of this kind that is queued or running."""
        ...


@dataclass(slots=True)
class Service:
    """The parts of the server, joined.

    Attributes:
        settings: Of the server.
        collections: By name.
        gate: Through which all work goes.
        readiness: Is told which methods work.
        explanations: Queries that were answered.
        version: Of the release.
        jobs: Long work; ``None`` where the server does none.
        keys_demanded: Whether requests need a key.
        metrics: Counts searches; ``None`` where nobody does.
        started_at: When the server started.
        fetcher: Downloads what clients name; addresses are checked.
    """

    settings: Settings
    collections: Collections
    gate: Gate
    readiness: Readiness
    explanations: Explanations
    version: str
    jobs: Jobs | None = None
    keys_demanded: bool = False
    metrics: Metrics | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    fetcher: Fetcher = field(init=False)
    _downloads: CapacityLimiter = field(init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        self.fetcher = Fetcher(
            timeout=settings.url_seconds,
            deadline=settings.url_seconds,
            max_bytes=settings.max_image_bytes,
            retries=0,
            connections=settings.fetch_connections,
            check=None if settings.fetch_private else only_public,
        )
        self._downloads = CapacityLimiter(settings.fetch_connections)

    async def download(self, url: str) -> bytes:
        """The picture behind an address that a client gave.

        Raises:
            Problem: ``url_queries_off``.
            FetchError: it gave none, or is not allowed.
            ImageTooLargeError: it is too large.
        """
        if not self.settings.url_queries:
            raise Problem(
                "url_queries_off", "this server downloads nothing", hint="send the picture itself", field="url"
            )
        # Not through the gate: who waits for another server computes nothing.
        return await to_thread.run_sync(self.fetcher.fetch, url, limiter=self._downloads, abandon_on_cancel=True)

    def need_jobs(self) -> Jobs:
        """What does long work.

        Raises:
            Problem: ``not_ready``: nothing does.
        """
        if self.jobs is None:
            raise Problem("not_ready", "this server does no jobs", hint="ask with wait=true")
        return self.jobs

    def close(self) -> None:
        """End all downloads."""
        self.fetcher.close()


def quoted(image_id: str) -> str:
    """An id as the end of a path; what a client would take for steps in the path is told otherwise."""
    return "/".join(
        part.replace(".", "%2E") if part in {".", ".."} else part for part in quote(image_id, safe="/").split("/")
    )


def iso(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def image_of(collection: str, record: ImageRecord, methods: frozenset[str] | None = None) -> dict[str, Any]:
    """An image as it is told; where files lie on the server is not."""
    base, name = f"/v1/collections/{collection}", quoted(record.id)
    web = record.uri.startswith(("http://", "https://"))
    told: dict[str, Any] = {
        "id": record.id,
        "sha256": record.sha256,
        "size_bytes": record.size_bytes,
        "width": record.width,
        "height": record.height,
        "format": record.format,
        "metadata": dict(record.metadata),
        "added_at": iso(record.added_at),
        "thumbnail": f"{base}/thumbnails/{name}",
        "content": f"{base}/contents/{name}" if record.uri.startswith("file:") else None,
    }
    if web:
        told["uri"] = record.uri
    if methods is not None:
        told["methods"] = sorted(methods)
    return told
