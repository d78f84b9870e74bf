"""What the service answers, as data; where the library has a type for it, an extension of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from imagefinder.core import results
from imagefinder.core.results import DuplicateGroup, Evidence, Hit, Relation, SearchResult

Access = Literal["none", "read", "write"]


@dataclass(frozen=True, slots=True)
class Auth:
    """Whether keys are demanded, and what ours allows."""

    required: bool
    access: Access


@dataclass(frozen=True, slots=True)
class Info:
    """The service.

    Attributes:
        version: Of the server.
        started_at: ISO 8601.
        collections: Their names.
        default_collection: The one meant where none is named.
        auth: Whether keys are demanded, and what ours allows.
        url_queries: Whether URLs are accepted as pictures.
        job_roots: Folders of the server that jobs may index.
        read_only: Whether nothing can be changed.
    """

    version: str
    started_at: str
    collections: tuple[str, ...]
    default_collection: str
    auth: Auth
    url_queries: bool
    job_roots: tuple[str, ...]
    read_only: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """What the service accepts; see ``GET /v1/limits``."""

    max_image_bytes: int
    max_image_pixels: int
    max_k: int
    max_boxes: int
    max_images_per_request: int
    max_json_bytes: int
    request_seconds: float
    concurrent: int
    queue: int
    requests_per_minute: int | None
    explanation_seconds: float
    page_size: int
    url_seconds: float
    url_redirects: int


@dataclass(frozen=True, slots=True)
class MethodState:
    """A method, and whether it can be asked.

    Attributes:
        name: By which it is asked.
        summary: What it finds.
        score: ``matches`` or ``cosine``.
        kind: Whether an image has one vector or many descriptors.
        dim: Of each of them.
        dtype: Of their numbers.
        ready: Whether it can be asked now.
        reason: Why not.
        hint: What to do about it.
        fingerprint: Digest of what makes its features; ``None`` while that is not known.
        explains: What its explanations show.
    """

    name: str
    summary: str
    score: str
    kind: str
    dim: int
    dtype: str
    ready: bool
    reason: str
    hint: str
    fingerprint: str | None
    explains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeldMethod:
    """A method as a collection holds it."""

    name: str
    images: int
    bytes: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection.

    Attributes:
        name: By which it is asked.
        images: How many.
        failures: Pictures that could not be indexed.
        bytes: On disk.
        methods: Which features it holds.
    """

    name: str
    images: int
    failures: int
    bytes: int
    methods: tuple[HeldMethod, ...]


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a collection.

    Attributes:
        id: Its name.
        sha256: Of the encoded bytes.
        size_bytes: Length of the encoded bytes.
        width: Pixels, upright.
        height: Pixels, upright.
        format: Encoded format.
        metadata: The user's own JSON object.
        added_at: ISO 8601.
        thumbnail: Path of its thumbnail on the server.
        content: Path of its original; ``None`` where the server does not have it.
        uri: Where it came from, if that is a URL.
        methods: Methods whose features it has, where that was asked for.
    """

    id: str
    sha256: str
    size_bytes: int
    width: int
    height: int
    format: str
    metadata: Mapping[str, Any]
    added_at: str
    thumbnail: str
    content: str | None = None
    uri: str | None = None
    methods: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FailedImage:
    """A picture that could not be indexed.

    Attributes:
        id: The id it would have had.
        uri: Where it would have come from, if that is a URL.
        code: Stable name of the kind of error.
        message: What happened.
        attempts: How often it was tried.
        at: ISO 8601, of the last try.
    """

    id: str
    code: str
    message: str
    attempts: int
    at: str
    uri: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Hit):
    """A hit, with its image.

    Attributes:
        image: Its record.
        thumbnail: Path of its thumbnail on the server.
        explanation: Path of what speaks for it; ``Client.explain`` fetches it.
        picture: Path of the same as a picture; ``Client.picture`` fetches it.
    """

    image: Image | None = None
    thumbnail: str = ""
    explanation: str | None = None
    picture: str | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """The picture that was asked with; ``id`` if it was one of the collection."""

    width: int
    height: int
    sha256: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Handle:
    """By which an answer can be had again, and explained, until it expires (ISO 8601)."""

    handle: str
    expires_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(SearchResult):
    """The answer to one query.

    Attributes:
        hits: Best first.
        collection: That was searched.
        query: The picture that was asked with.
        explanations: By which this can be explained; ``None`` where the server does not keep it.
    """

    hits: tuple[Found, ...]
    collection: str
    query: Query | None = None
    explanations: Handle | None = None


@dataclass(frozen=True, slots=True)
class Comparison(results.Comparison):
    """Two pictures side by side.

    Attributes:
        evidence: The geometry that was found; ``None`` if there is none.
        relation: What they are to one another.
    """

    evidence: Evidence | None = None
    relation: Relation | None = None


@dataclass(frozen=True, slots=True)
class DuplicateSet(DuplicateGroup):
    """Images that show the same, with their records."""

    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True)
class DuplicateCounts:
    """What the search for duplicates looked at; see ``DuplicateReport``."""

    images: int
    candidates: int
    verified: int
    methods: tuple[str, ...]
    timings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The duplicates of a collection.

    Attributes:
        computed_at: ISO 8601.
        stale: Whether the collection has changed since; the server looks anew already.
        report: What was looked at.
        groups: Identical ones first, then edited copies, then overlapping ones.
    """

    computed_at: str
    stale: bool
    report: DuplicateCounts
    groups: tuple[DuplicateSet, ...]
