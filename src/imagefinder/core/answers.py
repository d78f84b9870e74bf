"""The response objects of the REST service: the server writes them as JSON, and the client reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from imagefinder.core.jobs import Job
from imagefinder.core.results import DuplicateGroup, Hit, Label, SearchResult
from imagefinder.core.serialization import Described

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)


OPTION_NAMES: Mapping[str, str] = {"ranking": "verify", "where": "filter"}
"""Field of ``SearchOptions`` -> its name in requests, where the two differ; ``verify`` is true for the ranking
``evidence``."""


def extend(kind: type[T], value: DataclassInstance, **added: Any) -> T:
    """Convert an object to ``kind``, a subclass of its class, with the values ``added`` of further members."""
    return kind(**{one.name: getattr(value, one.name) for one in fields(value)} | added)


@dataclass(frozen=True, slots=True)
class AuthInfo(Described):
    """Authentication of the server, and the access of this request."""

    required: bool
    """Whether requests need an API key."""

    access: Literal["none", "read", "write"]
    """Access of this request."""


@dataclass(frozen=True, slots=True)
class ServerInfo(Described):
    """Version and configuration of the server."""

    version: str
    """Version of imagefinder."""

    started_at: str
    """Time of the last start; ISO 8601, UTC."""

    collections: tuple[str, ...]
    """Names of the collections."""

    default_collection: str
    """Name of the collection used by requests that do not name one."""

    auth: AuthInfo
    """Authentication of the server, and the access of this request."""

    url_queries: bool
    """Whether requests may give images by URL."""

    job_roots: tuple[str, ...]
    """Folders on the server that jobs may add images from."""

    read_only: bool
    """Whether the server rejects all changes."""

    keep_originals: bool = False
    """Whether collections keep the originals of uploaded images; otherwise they keep previews of them."""

    image_suffixes: tuple[str, ...] = ()
    """File extensions, in lower case, of images that are added from folders."""

    shows_locations: bool = False
    """Whether the server reports where files are, because only this machine can reach it."""


@dataclass(frozen=True, slots=True)
class ServerLimits(Described):
    """Limits of the server."""

    max_image_bytes: int
    """Maximum bytes of an encoded image."""

    max_image_pixels: int
    """Maximum pixels of an image."""

    max_k: int
    """Maximum hits of a search."""

    max_boxes: int
    """Maximum boxes of a query."""

    max_images_per_request: int
    """Maximum queries in one search request."""

    max_json_bytes: int
    """Maximum bytes of a JSON body."""

    request_seconds: float
    """Maximum seconds of waiting and computing for a request; 0: no limit."""

    concurrent: int
    """Number of requests computed concurrently."""

    queue: int
    """Maximum number of waiting requests."""

    requests_per_minute: int | None
    """Maximum requests per minute for a key or network; null: no limit."""

    explanation_seconds: float
    """Lifetime of an explanation handle in seconds."""

    page_size: int
    """Maximum items of a page."""

    url_seconds: float
    """Maximum seconds of a download."""

    url_redirects: int
    """Maximum redirects of a download."""


@dataclass(frozen=True, slots=True)
class MethodStatus(Described):
    """A method, and whether it is ready to use."""

    name: str
    """Name of the method."""

    summary: str
    """One-line description of what the method finds."""

    score: str
    """Kind of score: ``matches`` (a count) or ``cosine``."""

    kind: Literal["local", "global"] | None
    """One vector per image (``global``) or many descriptors (``local``); null if the method cannot be loaded."""

    dim: int | None
    """Dimension of a vector or descriptor; null if the method cannot be loaded."""

    dtype: str | None
    """Element type of a vector or descriptor; null if the method cannot be loaded."""

    ready: bool
    """Whether the method is ready to use."""

    reason: str
    """Why the method is not ready; empty if it is."""

    hint: str
    """How to make the method ready; empty if it is."""

    fingerprint: str | None
    """Digest of the fingerprint of its features; null if it is not available."""

    explains: tuple[Literal["matches", "heat"], ...]
    """What its explanations can show: matches, or heat maps."""

    words: bool = False
    """Whether the method can search with words."""


@dataclass(frozen=True, slots=True)
class MethodList(Described):
    """All installed methods."""

    methods: tuple[MethodStatus, ...]
    """The methods, sorted by name."""


@dataclass(frozen=True, slots=True)
class CollectionMethod(Described):
    """The features that a collection has of one method."""

    name: str
    """Name of the method."""

    images: int
    """Number of images with features of this method."""

    bytes: int
    """Size of these features in bytes."""

    fingerprint: str
    """Digest of the fingerprint of these features."""


@dataclass(frozen=True, slots=True)
class CollectionInfo(Described):
    """A collection."""

    name: str
    """Name of the collection."""

    images: int
    """Number of images."""

    failures: int
    """Number of images that could not be indexed."""

    bytes: int
    """Size on disk in bytes."""

    methods: tuple[CollectionMethod, ...]
    """The features that the collection has, by method."""


@dataclass(frozen=True, slots=True)
class CollectionList(Described):
    """All collections."""

    collections: tuple[CollectionInfo, ...]
    """The default collection first, the others sorted by name."""


@dataclass(frozen=True, slots=True)
class Image(Described):
    """An image of a collection."""

    id: str
    """Id of the image."""

    sha256: str
    """SHA-256 of the encoded image, hexadecimal."""

    size_bytes: int
    """Size of the encoded image in bytes."""

    width: int
    """Width in pixels, after EXIF rotation."""

    height: int
    """Height in pixels, after EXIF rotation."""

    format: str
    """Encoded format, for example ``JPEG``."""

    metadata: Mapping[str, Any]
    """User-defined JSON object."""

    added_at: str
    """Time at which the image was added; ISO 8601, UTC."""

    thumbnail: str
    """Path of the thumbnail on this server."""

    content: str | None
    """Path of the original on this server; null if the server cannot provide it."""

    uri: str = ""
    """URL that the image came from; empty if it did not come from the web."""

    methods: tuple[str, ...] = ()
    """Names of the methods that the image has features of; always empty in listings."""

    missing: bool = False
    """Whether the file that the image was added from no longer exists."""

    file_metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Metadata of the file, by namespace; its place only with the server's setting ``places``."""

    stack: str = ""
    """Identifies the versions of one picture (raw and JPEG, edited copies, bursts); empty if unknown."""

    versions: int = 1
    """Number of versions of the picture in the collection, with this one; only in listings."""

    preview: str = ""
    """Path of the preview on this server, which browsers can show; empty if it comes from version 0.1."""

    labels: tuple[Label, ...] = ()
    """Suggestions of a classifier, most likely first; empty unless requested with ``labels=true``."""


@dataclass(frozen=True, slots=True)
class ImagePage(Described):
    """A page of images."""

    images: tuple[Image, ...]
    """The images of this page."""

    next_cursor: str | None
    """Cursor of the next page; null on the last page."""


@dataclass(frozen=True, slots=True)
class FailedImage(Described):
    """An image that could not be indexed."""

    id: str
    """Id that the image would have had."""

    uri: str
    """URL of the image; empty if it was not on the web."""

    code: str
    """Stable error code."""

    message: str
    """Description of the error."""

    attempts: int
    """Number of attempts to index the image."""

    at: str
    """Time of the last attempt; ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class FailurePage(Described):
    """A page of failures, ordered by id."""

    failures: tuple[FailedImage, ...]
    """The failures of this page."""

    next_cursor: str | None
    """Cursor of the next page; null on the last page."""


@dataclass(frozen=True, slots=True)
class RemovedImage(Described):
    """An image that was removed from the collection, and that jobs do not add again."""

    id: str
    """Id that the image had."""

    sha256: str
    """SHA-256 of the encoded image, hexadecimal."""

    removed_at: str
    """Time of the removal; ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class RemovalPage(Described):
    """A page of removed images, ordered by id."""

    removals: tuple[RemovedImage, ...]
    """The removed images of this page."""

    next_cursor: str | None
    """Cursor of the next page; null on the last page."""


@dataclass(frozen=True, slots=True)
class QueryInfo(Described):
    """The query."""

    width: int
    """Width in pixels; 0 without a query image."""

    height: int
    """Height in pixels; 0 without a query image."""

    sha256: str
    """SHA-256 of the encoded image, hexadecimal; empty without a query image."""

    id: str | None
    """Id of the image, if the query is an image of the collection; otherwise null."""

    text: str = ""
    """The text of the query; empty without one."""


@dataclass(frozen=True, slots=True)
class AnswerHandle(Described):
    """A handle to a search result and its explanations, valid until it expires."""

    handle: str
    """The handle: a path segment below ``/v1/explanations``."""

    expires_at: str
    """Time of expiry, ISO 8601, UTC; under load, the server may drop the result earlier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchHit(Hit):
    """A hit with the record of its image."""

    image: Image
    """The image."""

    thumbnail: str
    """Path of the thumbnail on this server."""

    explanation: str | None
    """Path of the explanation on this server; null if the result has no handle."""

    drawing: str | None = None
    """Path of the drawn explanation on this server; null if the result has no handle."""

    picture: str | None = None
    """Deprecated name of ``drawing``; removed in 0.3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAnswer(SearchResult):
    """The results of one query, with the records of the images."""

    hits: tuple[SearchHit, ...]
    """Best first; ties are ordered by id."""

    collection: str
    """Name of the collection that was searched."""

    query: QueryInfo
    """The query."""

    explanations: AnswerHandle | None
    """Handle to the explanations; null if the server does not store this result."""


@dataclass(frozen=True, slots=True)
class QueryProblem(Described):
    """The problem with one of several queries."""

    problem: Mapping[str, Any]
    """Problem details as defined by RFC 9457."""


@dataclass(frozen=True, slots=True)
class SearchAnswers(Described):
    """The results of several queries."""

    results: tuple[SearchAnswer | QueryProblem, ...]
    """One result or problem per query, in the order of the queries."""


@dataclass(frozen=True, slots=True)
class DuplicateSet(DuplicateGroup):
    """A group of duplicates, with the records of its images."""

    images: tuple[Image, ...]
    """The images of the group that still exist."""


@dataclass(frozen=True, slots=True)
class DuplicateSummary(Described):
    """Statistics of a duplicate report."""

    images: int
    """Number of images in the collection."""

    candidates: int
    """Number of candidate pairs proposed by the methods."""

    verified: int
    """Number of pairs that were spatially verified."""

    methods: tuple[str, ...]
    """Names of the methods used."""

    timings: Mapping[str, float]
    """Stage -> seconds."""


@dataclass(frozen=True, slots=True)
class Duplicates(Described):
    """A page of the latest duplicate report."""

    state: Literal["ready"]
    """Always ``ready``: the report exists."""

    computed_at: str
    """Time at which the report was computed; ISO 8601, UTC."""

    stale: bool
    """Whether the collection has changed since; if so, a new report is being computed."""

    report: DuplicateSummary
    """Statistics of the report."""

    groups: tuple[DuplicateSet, ...]
    """Groups of identical images first, then of edited copies, then of overlapping images."""

    next_cursor: str | None
    """Cursor of the next page; null on the last page."""


@dataclass(frozen=True, slots=True)
class DuplicatesRunning(Described):
    """The duplicate report is being computed."""

    state: Literal["running"]
    """Always ``running``: there is no report yet."""

    job: Job
    """The job that computes the report."""
