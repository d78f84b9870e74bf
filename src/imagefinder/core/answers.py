"""Response objects of the REST service: the server writes them as JSON, and the client reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from imagefinder.core.jobs import Job
from imagefinder.core.results import DuplicateGroup, Hit, SearchResult
from imagefinder.core.serialization import Described

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)


OPTION_NAMES: Mapping[str, str] = {"ranking": "verify", "where": "filter"}
"""Field of ``SearchOptions`` -> its name in requests, if different. ``verify`` means ``ranking`` ``evidence``."""


def extend(kind: type[T], value: DataclassInstance, **added: Any) -> T:
    """Create an object of a subclass from an object of its base class.

    Args:
        kind: A dataclass.
        value: An object of a base class of ``kind``.
        added: Members that only ``kind`` has, or that replace those of ``value``.
    """
    return kind(**{one.name: getattr(value, one.name) for one in fields(value)} | added)


@dataclass(frozen=True, slots=True)
class AuthInfo(Described):
    """Authentication: whether API keys are required, and the access level of this request."""

    required: bool
    """Whether requests require an API key."""

    access: Literal["none", "read", "write"]
    """Access level of this request."""


@dataclass(frozen=True, slots=True)
class ServerInfo(Described):
    """Information about the server."""

    version: str
    """Version of imagefinder."""

    started_at: str
    """Time of the start; ISO 8601, UTC."""

    collections: tuple[str, ...]
    """Names of the collections."""

    default_collection: str
    """Name of the default collection."""

    auth: AuthInfo
    """Authentication: whether API keys are required, and the access level of this request."""

    url_queries: bool
    """Whether the server accepts image URLs and downloads them."""

    job_roots: tuple[str, ...]
    """Folders of the server from which jobs may add images."""

    read_only: bool
    """Whether the server refuses all changes."""


@dataclass(frozen=True, slots=True)
class ServerLimits(Described):
    """Limits of the server."""

    max_image_bytes: int
    """Largest encoded image, bytes."""

    max_image_pixels: int
    """Largest decoded image, pixels."""

    max_k: int
    """Largest number of hits of a search."""

    max_boxes: int
    """Largest number of boxes of a query."""

    max_images_per_request: int
    """Largest number of queries in a search request."""

    max_json_bytes: int
    """Largest JSON body, bytes."""

    request_seconds: float
    """Time limit for waiting and computing, seconds; 0: no limit."""

    concurrent: int
    """Number of requests computed at the same time."""

    queue: int
    """Number of further requests that may wait."""

    requests_per_minute: int | None
    """Rate limit per API key or client network; null: no limit."""

    explanation_seconds: float
    """Lifetime of a search handle, seconds."""

    page_size: int
    """Largest number of items on a page."""

    url_seconds: float
    """Time limit of a download, seconds."""

    url_redirects: int
    """Largest number of redirects that a download follows."""


@dataclass(frozen=True, slots=True)
class MethodStatus(Described):
    """An installed method and its state."""

    name: str
    """Name of the method."""

    summary: str
    """One-line description."""

    score: str
    """Kind of score: ``matches`` (a count) or ``cosine``."""

    kind: Literal["local", "global"] | None
    """``global``: one vector per image. ``local``: many descriptors. Null if the method cannot be loaded."""

    dim: int | None
    """Length of a vector or descriptor."""

    dtype: str | None
    """Data type of vectors or descriptors."""

    ready: bool
    """Whether the method can be used now."""

    reason: str
    """Why the method is not ready; empty if it is."""

    hint: str
    """What to do about it; empty if the method is ready."""

    fingerprint: str | None
    """Digest of parameters, weights and version; null if not determined yet."""

    explains: tuple[Literal["matches", "heat"], ...]
    """Kinds of explanation that the method supports."""


@dataclass(frozen=True, slots=True)
class MethodList(Described):
    """The installed methods."""

    methods: tuple[MethodStatus, ...]
    """The methods, sorted by name."""


@dataclass(frozen=True, slots=True)
class CollectionMethod(Described):
    """The features of one method in a collection."""

    name: str
    """Name of the method."""

    images: int
    """Number of images with features of this method."""

    bytes: int
    """Size of the features, bytes."""

    fingerprint: str
    """Digest of the parameters, weights and version that produced the features."""


@dataclass(frozen=True, slots=True)
class CollectionInfo(Described):
    """A collection."""

    name: str
    """Name of the collection."""

    images: int
    """Number of images."""

    failures: int
    """Number of images that could not be added."""

    bytes: int
    """Size on disk, bytes."""

    methods: tuple[CollectionMethod, ...]
    """Features of the collection, by method."""


@dataclass(frozen=True, slots=True)
class CollectionList(Described):
    """All collections."""

    collections: tuple[CollectionInfo, ...]
    """The collections: the default one first, then by name."""


@dataclass(frozen=True, slots=True)
class Image(Described):
    """An image of a collection."""

    id: str
    """Id of the image."""

    sha256: str
    """SHA-256 of the encoded image, hexadecimal."""

    size_bytes: int
    """Size of the encoded image, bytes."""

    width: int
    """Width of the upright image, pixels."""

    height: int
    """Height of the upright image, pixels."""

    format: str
    """File format, for example ``JPEG``."""

    metadata: Mapping[str, Any]
    """JSON object that was stored with the image."""

    added_at: str
    """Time at which the image was added; ISO 8601, UTC."""

    thumbnail: str
    """URL path of the thumbnail."""

    content: str | None
    """URL path of the original file; null if the server has no original file."""

    uri: str = ""
    """Source of the image if it is an http(s) URL; otherwise empty."""

    methods: tuple[str, ...] = ()
    """Methods whose features the image has; always empty in lists."""


@dataclass(frozen=True, slots=True)
class ImagePage(Described):
    """A page of images, ordered by id."""

    images: tuple[Image, ...]
    """The images."""

    next_cursor: str | None
    """Cursor of the next page; null on the last page."""


@dataclass(frozen=True, slots=True)
class FailedImage(Described):
    """An image that could not be added."""

    id: str
    """Id that the image would have had."""

    uri: str
    """Source of the image if it is an http(s) URL; otherwise empty."""

    code: str
    """Stable, machine-readable name of the kind of error."""

    message: str
    """What happened."""

    attempts: int
    """Number of attempts."""

    at: str
    """Time of the last attempt; ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class FailurePage(Described):
    """A page of images that could not be added, ordered by id."""

    failures: tuple[FailedImage, ...]
    """The failures."""

    next_cursor: str | None
    """Cursor of the next page; null on the last page."""


@dataclass(frozen=True, slots=True)
class QueryInfo(Described):
    """The query image."""

    width: int
    """Width, pixels."""

    height: int
    """Height, pixels."""

    sha256: str
    """SHA-256 of the encoded image, hexadecimal."""

    id: str | None
    """Id of the image if it is in the collection; otherwise null."""


@dataclass(frozen=True, slots=True)
class AnswerHandle(Described):
    """A handle that gives access to an answer and its explanations until it expires."""

    handle: str
    """The handle: the path of the answer is ``/v1/explanations/{handle}``."""

    expires_at: str
    """Time of expiry; ISO 8601, UTC. Under load, the server may drop the handle earlier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchHit(Hit):
    """A hit of a search, with its image."""

    image: Image
    """The image."""

    thumbnail: str
    """URL path of the thumbnail."""

    explanation: str | None
    """URL path of the explanation; null if the answer has no handle."""

    drawing: str | None = None
    """URL path of the drawn explanation; null if the answer has no handle."""

    picture: str | None = None
    """Deprecated, removed in the next version: use ``drawing``, which has the same value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAnswer(SearchResult):
    """The answer to one query, with the images of the hits."""

    hits: tuple[SearchHit, ...]
    """The hits, best first; ties are ordered by id."""

    collection: str
    """Name of the collection that was searched."""

    query: QueryInfo
    """The query image."""

    explanations: AnswerHandle | None
    """Handle for explanations; null if the answer is too large for the server's cache."""


@dataclass(frozen=True, slots=True)
class QueryProblem(Described):
    """The error of a query in a request with several queries."""

    problem: Mapping[str, Any]
    """Problem details (RFC 9457)."""


@dataclass(frozen=True, slots=True)
class SearchAnswers(Described):
    """The answers to the queries of a request, in the same order."""

    results: tuple[SearchAnswer | QueryProblem, ...]
    """One answer or problem per query."""


@dataclass(frozen=True, slots=True)
class DuplicateSet(DuplicateGroup):
    """A group of duplicate images, with their records."""

    images: tuple[Image, ...]
    """Records of the images that still exist."""


@dataclass(frozen=True, slots=True)
class DuplicateSummary(Described):
    """Summary of a duplicate report."""

    images: int
    """Number of images in the collection."""

    candidates: int
    """Number of candidate pairs."""

    verified: int
    """Number of spatially verified pairs."""

    methods: tuple[str, ...]
    """Names of the methods that were used."""

    timings: Mapping[str, float]
    """Stage -> duration, seconds."""


@dataclass(frozen=True, slots=True)
class Duplicates(Described):
    """A page of the latest duplicate report."""

    state: Literal["ready"]
    """Always ``ready``: the report exists."""

    computed_at: str
    """Time at which the report was computed; ISO 8601, UTC."""

    stale: bool
    """Whether the collection has changed since then; if so, a new report is being computed."""

    report: DuplicateSummary
    """Summary of the report."""

    groups: tuple[DuplicateSet, ...]
    """Groups of this page: first identical images, then edited copies, then overlapping images."""

    next_cursor: str | None
    """Cursor of the next page; null on the last page."""


@dataclass(frozen=True, slots=True)
class DuplicatesRunning(Described):
    """The duplicate report is being computed."""

    state: Literal["running"]
    """Always ``running``: there is no report yet."""

    job: Job
    """The job that computes the report."""


@dataclass(frozen=True, slots=True)
class JobPage(Described):
    """A page of jobs, newest first."""

    jobs: tuple[Job, ...]
    """The jobs."""

    next_cursor: str | None
    """Cursor of the next page; null on the last page."""
