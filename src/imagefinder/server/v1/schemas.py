"""The JSON forms of ``/v1``: what is accepted, checked to the last member, and what is answered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError, model_validator

from imagefinder.core.query import MAX_BOXES
from imagefinder.core.results import Mode
from imagefinder.server.errors import Problem

MAX_K = 1000
MAX_IMAGES = 16
"""Pictures of one search."""

MAX_ID = 1024
"""Letters of an id that is given here."""

MAX_NAMED = 16_384
"""Characters of the longest id that can be named; ids are paths, and paths on disk are shorter."""

MAX_URL = 8192
MAX_PAGE = 1000
PAGE = 100

REF = "#/components/schemas/{model}"

M = TypeVar("M", bound=BaseModel)


def _whole(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a whole number")  # noqa: TRY004 - what pydantic expects
    return value


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")  # noqa: TRY004 - likewise
    try:
        if math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise ValueError("must be a number of usual size")


Number = Annotated[float, BeforeValidator(_number)]
BoxForm = Annotated[list[Number], Field(min_length=4, max_length=4)]
Truth = Annotated[bool, Field(strict=True)]


class Form(BaseModel):
    """What a client sends; members of other names are refused."""

    model_config = ConfigDict(extra="forbid", str_max_length=1 << 31)


class Picture(Form):
    """A picture: exactly one of ``url``, ``base64`` and ``id``."""

    url: (
        Annotated[str, Field(max_length=MAX_URL, description="http(s) address; the server downloads it")] | None
    ) = None
    base64: Annotated[str, Field(description="the encoded picture; a data: URL is accepted, too")] | None = None
    id: (
        Annotated[str, Field(min_length=1, max_length=MAX_NAMED, description="of an image of the collection")]
        | None
    ) = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("url", "base64", "id"))
        return self


class Query(Picture):
    """One of several queries."""

    boxes: Annotated[
        list[BoxForm],
        Field(
            max_length=MAX_BOXES,
            description="x, y, width, height in pixels: only these parts of the picture count",
        ),
    ] = []


class Options(Form):
    """How is searched."""

    method: Annotated[
        str,
        Field(
            min_length=1, max_length=100, description="name of a method, or auto: all of the collection together"
        ),
    ] = "auto"
    k: Annotated[int, Field(ge=1, le=MAX_K, description="how many hits at most"), BeforeValidator(_whole)] = 3
    mode: Annotated[
        Mode,
        Field(description="exact: every image is compared; fast: those an index proposes; auto: by their number"),
    ] = "auto"
    verify: Annotated[
        Truth,
        Field(
            description="rank by all that speaks for an image; false: by the score of one method alone",
        ),
    ] = True
    mirror: Annotated[Truth, Field(description="find mirror images, too")] = True
    filter: (
        Annotated[
            dict[str, JsonValue], Field(description="only images whose metadata match; see the guide on filters")
        ]
        | None
    ) = None
    min_score: Annotated[Number, Field(description="drop hits with a lower score")] | None = None
    max_evalue: (
        Annotated[float, Field(ge=0, description="drop hits with a higher E-value"), BeforeValidator(_number)]
        | None
    ) = None


class MethodOnly(Form):
    """The text fields of a comparison."""

    method: Annotated[str, Field(min_length=1, max_length=100)] = "sift"


class Boxes(Form):
    """The boxes of a form."""

    boxes: Annotated[list[BoxForm], Field(max_length=MAX_BOXES)]


class SearchOne(Query, Options):
    """A search with one picture."""


class SearchMany(Options):
    """A search with several pictures; each is answered by itself, in order."""

    queries: Annotated[list[Query], Field(min_length=1, max_length=MAX_IMAGES)]


class Side(Form):
    """A picture to compare: exactly one of ``url``, ``base64`` and ``id`` with its ``collection``."""

    url: Annotated[str, Field(max_length=MAX_URL)] | None = None
    base64: str | None = None
    collection: Annotated[str, Field(max_length=100)] | None = None
    id: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("url", "base64", "id"))
        if (self.id is None) != (self.collection is None):
            raise ValueError("id and collection go together")
        return self


class CompareForm(Form):
    """Two pictures."""

    a: Side
    b: Side
    method: Annotated[str, Field(min_length=1, max_length=100)] = "sift"


class PutForm(Form):
    """A picture to keep: exactly one of ``url`` and ``base64``."""

    url: Annotated[str, Field(max_length=MAX_URL)] | None = None
    base64: str | None = None
    metadata: Annotated[dict[str, JsonValue], Field(description="your own JSON object, kept with the image")] = {}

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("url", "base64"))
        return self


def read(model: type[M], data: object) -> M:
    """What a client sent, checked.

    Raises:
        Problem: ``invalid_parameter``, with the field.
    """
    if not isinstance(data, dict):
        raise Problem("invalid_parameter", "the request must be a JSON object")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])[:200]
        words = str(first["msg"]).replace("Input should be", "must be").removeprefix("Value error, ")
        members: dict[str, Any] = {"field": field} if field else {}
        if first["type"] in {"greater_than_equal", "less_than_equal", "too_long", "string_too_long"}:
            members["limit"] = next(
                value for key, value in first["ctx"].items() if key in {"ge", "le", "max_length"}
            )
        text = f"{field}: {words}" if field else words
        raise Problem("invalid_parameter", text.encode("utf-8", "backslashreplace").decode(), **members) from error


def _exactly_one(form: BaseModel, names: tuple[str, ...]) -> None:
    given = [name for name in names if getattr(form, name) is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(names)}, not {' and '.join(given) or 'none'}")


# -- answers -------------------------------------------------------------------------------------------------


class Auth(BaseModel):
    """Whether keys are demanded, and what this request may do."""

    required: bool
    access: Literal["none", "read", "write"]


class Info(BaseModel):
    """What this server is."""

    version: str
    started_at: str = Field(description="ISO 8601, UTC")
    collections: list[str]
    default_collection: str
    auth: Auth
    url_queries: bool = Field(description="whether pictures may be given by address")
    job_roots: list[str] = Field(description="folders that jobs may index")
    read_only: bool


class Limits(BaseModel):
    """How much is accepted."""

    max_image_bytes: int
    max_image_pixels: int
    max_k: int
    max_boxes: int
    max_images_per_request: int
    max_json_bytes: int
    request_seconds: float = Field(description="0: no limit")
    concurrent: int = Field(description="requests computed at once")
    queue: int = Field(description="requests that may wait")
    requests_per_minute: int | None
    explanation_seconds: float
    page_size: int = Field(description="largest limit of a page")
    url_seconds: float
    url_redirects: int


class Method(BaseModel):
    """A method, and whether it can be used."""

    name: str
    summary: str
    score: str
    kind: Literal["local", "global"] | None
    dim: int | None
    dtype: str | None
    ready: bool
    reason: str
    hint: str
    fingerprint: str | None
    explains: list[Literal["matches", "heat"]]


class Methods(BaseModel):
    """All methods that are installed."""

    methods: list[Method]


class HeldMethod(BaseModel):
    """A method as a collection holds it."""

    name: str
    images: int
    bytes: int
    fingerprint: str


class CollectionInfo(BaseModel):
    """A collection."""

    name: str
    images: int
    failures: int
    bytes: int = Field(description="on disk")
    methods: list[HeldMethod]


class CollectionList(BaseModel):
    """All collections."""

    collections: list[CollectionInfo]


class Image(BaseModel):
    """An image of a collection."""

    id: str
    uri: str = Field(default="", description="where it came from, if that is an http(s) address; absent otherwise")
    sha256: str
    size_bytes: int
    width: int
    height: int
    format: str
    metadata: dict[str, Any]
    added_at: str = Field(description="ISO 8601, UTC")
    methods: list[str] = Field(default=[], description="whose features it has; absent in lists")
    thumbnail: str = Field(description="path on this server")
    content: str | None = Field(description="path on this server, where the original may be there")


class Images(BaseModel):
    """A page of images, ordered by id."""

    images: list[Image]
    next_cursor: str | None = Field(description="for the next page; null on the last one")


class Failure(BaseModel):
    """A picture that could not be indexed."""

    id: str
    uri: str = Field(description="where it would have come from, if that is an http(s) address; otherwise empty")
    code: str
    message: str
    attempts: int
    at: str = Field(description="of the last try; ISO 8601, UTC")


class Failures(BaseModel):
    """A page of failures, ordered by id."""

    failures: list[Failure]
    next_cursor: str | None


class QueryTold(BaseModel):
    """The picture that was asked with."""

    width: int
    height: int
    sha256: str
    id: str | None


class Handle(BaseModel):
    """Leads to explanations, for a while."""

    handle: str
    expires_at: str = Field(description="ISO 8601, UTC; it may go earlier where many ask")


class Evidence(BaseModel):
    """One transform that explains many matches; see the concepts on evidence."""

    inliers: int
    matches: int
    model: Literal["similarity", "affine", "homography"]
    transform: list[list[float]]
    mirrored: bool
    query_outline: list[list[float]]
    candidate_outline: list[list[float]]
    query_overlap: float
    candidate_overlap: float
    found_by: str
    log10_chance: float
    agreement: float | None


class MethodScore(BaseModel):
    """What one method says of an image."""

    score: float
    evalue: float


class Hit(BaseModel):
    """An image that was found."""

    rank: int
    id: str
    score: float
    evalue: float | None
    decision: Literal["match", "possible", "none"] | None
    relation: str | None
    evidence: Evidence | None
    methods: dict[str, MethodScore]
    image: Image
    thumbnail: str
    explanation: str | None = Field(description="path on this server")
    picture: str | None = Field(description="path on this server, of a drawing")


class Result(BaseModel):
    """The answer to one query."""

    method: str
    mode: str
    fingerprints: dict[str, str]
    searched: int
    ranking: Literal["matches", "evidence"]
    verified: int
    boxes: list[list[float]]
    decision: Literal["match", "possible", "none"] | None
    timings: dict[str, float] = Field(description="stage -> seconds")
    hits: list[Hit]
    collection: str
    query: QueryTold
    explanations: Handle | None


class Refused(BaseModel):
    """Why one of several queries has no answer."""

    problem: dict[str, Any]


class Results(BaseModel):
    """The answers to several queries, in order."""

    results: list[Result | Refused]


class Explained(BaseModel):
    """Why an image was found, or that nothing but chance speaks for it."""

    id: str
    method: str
    fingerprint: str
    score: float
    evalue: float | None
    decision: str | None
    relation: str | None
    numbers: dict[str, float | None]
    evidence: Evidence | None
    matches: int
    inliers: list[list[list[float]]]
    outliers: list[list[list[float]]]
    heat_of: str
    query_heat: list[list[float]]
    candidate_heat: list[list[float]]
    query_seen: list[float]
    candidate_seen: list[float]
    candidate_from: str
    query_cell: list[float]
    candidate_cell: list[float]
    query_size: list[int]
    candidate_size: list[int]


class Compared(BaseModel):
    """Two pictures side by side."""

    method: str
    fingerprint: str
    score: float
    features_a: int
    features_b: int
    evidence: Evidence | None
    relation: str | None
    timings: dict[str, float]


class JobTold(BaseModel):
    """A job; ``/v1/jobs`` tells more."""

    model_config = ConfigDict(extra="allow")

    id: str
    kind: str
    collection: str
    state: str


class DuplicatePair(BaseModel):
    """Two images that show the same."""

    a: str
    b: str
    relation: str
    agreement: float | None
    evidence: Evidence | None


class DuplicateGroup(BaseModel):
    """Images that show the same."""

    kind: str
    ids: list[str]
    pairs: list[DuplicatePair]
    images: list[Image] = Field(description="those that are still there")


class DuplicateSummary(BaseModel):
    """How the report was made."""

    images: int
    candidates: int
    verified: int
    methods: list[str]
    timings: dict[str, float]


class Duplicates(BaseModel):
    """A page of the last report."""

    state: Literal["ready"]
    computed_at: str
    stale: bool = Field(description="whether the collection has changed since; a new report is being made")
    report: DuplicateSummary
    groups: list[DuplicateGroup]
    next_cursor: str | None


class Running(BaseModel):
    """The report is being made."""

    state: Literal["running"]
    job: JobTold


def components() -> dict[str, Any]:
    """The JSON schemas of what is sent in bodies, for the OpenAPI description."""
    found: dict[str, Any] = {}
    for model in (SearchOne, SearchMany, CompareForm, PutForm, JobTold, Running):
        schema = model.model_json_schema(ref_template=REF)
        found |= schema.pop("$defs", {})
        found[model.__name__] = schema
    for name, choices in _ONE_OF.items():
        members = {member for names in choices for member in names}
        found[name]["oneOf"] = [_choice(names, members) for names in choices]
    return found


_PICTURE = (("url",), ("base64",), ("id",))

_ONE_OF: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "SearchOne": _PICTURE,
    "Query": _PICTURE,
    "Side": (("url",), ("base64",), ("id", "collection")),
    "PutForm": (("url",), ("base64",)),
}
"""Forms of which exactly one of these sets of members is given; the others may be null."""


def _choice(names: tuple[str, ...], members: set[str]) -> dict[str, Any]:
    types = {name: {"type": "string" if name in names else "null"} for name in sorted(members)}
    return {"required": list(names), "properties": types}
