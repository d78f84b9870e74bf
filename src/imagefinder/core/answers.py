"""What only the REST service knows: the server writes these objects as JSON, and its client reads them."""

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
"""Field of ``SearchOptions`` -> its name in requests, where that is another one; ``verify`` is whether ``ranking``
is ``evidence``."""


def extend(kind: type[T], value: DataclassInstance, **added: Any) -> T:
    """An object of a subclass, with the members of an object of its base class.

    Args:
        kind: A dataclass.
        value: An object of the base class of ``kind``.
        added: What only ``kind`` has, or has in another form.
    """
    return kind(**{one.name: getattr(value, one.name) for one in fields(value)} | added)


@dataclass(frozen=True, slots=True)
class AuthInfo(Described):
    """Whether keys are required, and what this request may do."""

    required: bool
    """Whether requests need a key."""

    access: Literal["none", "read", "write"]
    """What this request may do."""


@dataclass(frozen=True, slots=True)
class ServerInfo(Described):
    """What this server is."""

    version: str
    """Version of imagefinder."""

    started_at: str
    """ISO 8601, UTC."""

    collections: tuple[str, ...]
    """Names of the collections."""

    default_collection: str
    """The collection of requests that name none."""

    auth: AuthInfo
    """Whether keys are required, and what this request may do."""

    url_queries: bool
    """Whether images may be given by URL."""

    job_roots: tuple[str, ...]
    """Folders of the server that jobs may index."""

    read_only: bool
    """Whether nothing can be changed."""


@dataclass(frozen=True, slots=True)
class ServerLimits(Described):
    """How much the server accepts."""

    max_image_bytes: int
    """Bytes of one encoded image."""

    max_image_pixels: int
    """Pixels of one image."""

    max_k: int
    """Hits of one search."""

    max_boxes: int
    """Boxes of one query."""

    max_images_per_request: int
    """Queries of one search request."""

    max_json_bytes: int
    """Bytes of a JSON body."""

    request_seconds: float
    """Time to wait and compute for one request; 0: no limit."""

    concurrent: int
    """Requests computed at once."""

    queue: int
    """Requests that may wait."""

    requests_per_minute: int | None
    """Requests of one key or network; null: no limit."""

    explanation_seconds: float
    """How long a handle is valid."""

    page_size: int
    """Largest limit of a page."""

    url_seconds: float
    """Time for one download."""

    url_redirects: int
    """Redirects followed by one download."""


@dataclass(frozen=True, slots=True)
class MethodStatus(Described):
    """A method, and whether it can be used."""

    name: str
    """Name of the method."""

    summary: str
    """What it finds, in one line."""

    score: str
    """``matches`` (a count) or ``cosine``."""

    kind: Literal["local", "global"] | None
    """One vector per image (``global``) or many descriptors (``local``); null if the method cannot be loaded."""

    dim: int | None
    """Length of a vector or descriptor."""

    dtype: str | None
    """Type of its numbers."""

    ready: bool
    """Whether it can be used now."""

    reason: str
    """Why not; empty when ready."""

    hint: str
    """What to do about it; empty when ready."""

    fingerprint: str | None
    """Digest of what makes its features; null while that is not known."""

    explains: tuple[Literal["matches", "heat"], ...]
    """What its explanations show."""


@dataclass(frozen=True, slots=True)
class MethodList(Described):
    """All installed methods."""

    methods: tuple[MethodStatus, ...]
    """Sorted by name."""


@dataclass(frozen=True, slots=True)
class CollectionMethod(Described):
    """The features that a collection has of one method."""

    name: str
    """Name of the method."""

    images: int
    """Number of images with features of it."""

    bytes: int
    """Bytes of these features."""

    fingerprint: str
    """Digest of what made them."""


@dataclass(frozen=True, slots=True)
class CollectionInfo(Described):
    """A collection."""

    name: str
    """Its name."""

    images: int
    """Number of images."""

    failures: int
    """Number of images that could not be indexed."""

    bytes: int
    """Bytes on disk."""

    methods: tuple[CollectionMethod, ...]
    """The features it has."""


@dataclass(frozen=True, slots=True)
class CollectionList(Described):
    """All collections."""

    collections: tuple[CollectionInfo, ...]
    """The default collection first, then by name."""


@dataclass(frozen=True, slots=True)
class Image(Described):
    """An image of a collection."""

    id: str
    """Its id."""

    sha256: str
    """Of the encoded bytes, hexadecimal."""

    size_bytes: int
    """Length of the encoded bytes."""

    width: int
    """Pixels, upright."""

    height: int
    """Pixels, upright."""

    format: str
    """Encoded format, for example ``JPEG``."""

    metadata: Mapping[str, Any]
    """The user's own JSON object."""

    added_at: str
    """ISO 8601, UTC."""

    thumbnail: str
    """Path of its thumbnail on this server."""

    content: str | None
    """Path of the original on this server; null where the server does not have it."""

    uri: str = ""
    """Where it came from, if that is an http(s) URL; empty otherwise."""

    methods: tuple[str, ...] = ()
    """Methods whose features it has; empty in lists, which do not look them up."""


@dataclass(frozen=True, slots=True)
class ImagePage(Described):
    """A page of images, ordered by id."""

    images: tuple[Image, ...]
    """The images."""

    next_cursor: str | None
    """For the next page; null on the last one."""


@dataclass(frozen=True, slots=True)
class FailedImage(Described):
    """An image that could not be indexed."""

    id: str
    """The id it would have had."""

    uri: str
    """Where it would have come from, if that is an http(s) URL; otherwise empty."""

    code: str
    """Stable name of the kind of error."""

    message: str
    """What happened."""

    attempts: int
    """Number of attempts."""

    at: str
    """Time of the last attempt; ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class FailurePage(Described):
    """A page of failures, ordered by id."""

    failures: tuple[FailedImage, ...]
    """The failures."""

    next_cursor: str | None
    """For the next page; null on the last one."""


@dataclass(frozen=True, slots=True)
class QueryInfo(Described):
    """The query image."""

    width: int
    """Pixels."""

    height: int
    """Pixels."""

    sha256: str
    """Of the encoded bytes, hexadecimal."""

    id: str | None
    """Its id, if it is an image of the collection."""


@dataclass(frozen=True, slots=True)
class AnswerHandle(Described):
    """Gives access to an answer and its explanations until it expires."""

    handle: str
    """Part of the path below ``/v1/explanations``."""

    expires_at: str
    """ISO 8601, UTC; the server may drop it earlier under load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchHit(Hit):
    """A hit with its image."""

    image: Image
    """The image."""

    thumbnail: str
    """Path of its thumbnail on this server."""

    explanation: str | None
    """Path of its explanation on this server; null where the answer has no handle."""

    drawing: str | None = None
    """Path of its drawn explanation on this server; null if the answer has no handle."""

    picture: str | None = None
    """The same as ``drawing``. Deprecated: the next version drops it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAnswer(SearchResult):
    """The results of one query, with the images of the hits."""

    hits: tuple[SearchHit, ...]
    """Best first; ties in order of id."""

    collection: str
    """Name of the collection that was searched."""

    query: QueryInfo
    """The query image."""

    explanations: AnswerHandle | None
    """Gives access to explanations; null where the server does not keep this answer."""


@dataclass(frozen=True, slots=True)
class QueryProblem(Described):
    """Why one of several queries has no answer."""

    problem: Mapping[str, Any]
    """Problem details (RFC 9457)."""


@dataclass(frozen=True, slots=True)
class SearchAnswers(Described):
    """The answers to several queries, in order."""

    results: tuple[SearchAnswer | QueryProblem, ...]
    """One per query."""


@dataclass(frozen=True, slots=True)
class DuplicateSet(DuplicateGroup):
    """Images that show the same, with their records."""

    images: tuple[Image, ...]
    """Those that still exist."""


@dataclass(frozen=True, slots=True)
class DuplicateSummary(Described):
    """How the report was made."""

    images: int
    """Number of images in the collection."""

    candidates: int
    """Number of pairs that the methods proposed."""

    verified: int
    """Number of pairs that were compared closely."""

    methods: tuple[str, ...]
    """Names of the methods that took part."""

    timings: Mapping[str, float]
    """stage -> seconds"""


@dataclass(frozen=True, slots=True)
class Duplicates(Described):
    """A page of the last report of duplicates."""

    state: Literal["ready"]
    """The report exists."""

    computed_at: str
    """ISO 8601, UTC."""

    stale: bool
    """Whether the collection has changed since; a new report is being made."""

    report: DuplicateSummary
    """How the report was made."""

    groups: tuple[DuplicateSet, ...]
    """Identical images first, then edited copies, then overlapping ones."""

    next_cursor: str | None
    """For the next page; null on the last one."""


@dataclass(frozen=True, slots=True)
class DuplicatesRunning(Described):
    """The report is being made."""

    state: Literal["running"]
    """There is no report yet."""

    job: Job
    """The job that makes it."""


@dataclass(frozen=True, slots=True)
class JobPage(Described):
    """A page of jobs, the newest first."""

    jobs: tuple[Job, ...]
    """The jobs."""

    next_cursor: str | None
    """For the next page; null on the last one."""
