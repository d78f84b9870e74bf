"""Request models of ``/v1``, for validation and the OpenAPI description."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import UnionType
from typing import Annotated, Any, Literal, Self, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    create_model,
    model_validator,
)

from imagefinder.core.answers import OPTION_NAMES
from imagefinder.core.query import MAX_BOXES, MAX_COORDINATE, MAX_RERANK_DEPTH, MAX_TEXT, SearchOptions
from imagefinder.core.suggestions import did_you_mean
from imagefinder.server import validation
from imagefinder.server.errors import Problem

MAX_K = 1000
MAX_IMAGES = 16
"""Largest number of queries in a search request."""

MAX_ID_REFERENCE = 16_384
"""Largest length of an id in a search request, characters. Ids of images on disk are paths, which are shorter."""

MAX_URL = 8192
MAX_IDS = 10_000
"""Largest number of images that one request changes or exports."""

MAX_TAGS = 100
MAX_PAGE = 1000
PAGE = 100

REF = "#/components/schemas/{model}"

M = TypeVar("M", bound=BaseModel)


def _whole(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be an integer")  # noqa: TRY004 - what pydantic expects
    return value


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")  # noqa: TRY004 - what pydantic expects
    try:
        if math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise ValueError("must be a finite number")


Number = Annotated[float, BeforeValidator(_number)]
# The limits come first, or the description calls them ge and le.
Coordinate = Annotated[float, Field(ge=-MAX_COORDINATE, le=MAX_COORDINATE), BeforeValidator(_number)]


def _box(value: list[float]) -> list[float]:
    if min(value[2:]) <= 0:
        raise ValueError("the width and height of a box must be positive")
    return value


_PLACE = {"type": "number", "minimum": -MAX_COORDINATE, "maximum": MAX_COORDINATE}
_LENGTH = {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_COORDINATE}
BoxList = Annotated[
    list[Coordinate],
    Field(
        min_length=4,
        max_length=4,
        fail_fast=True,
        json_schema_extra={"prefixItems": [_PLACE, _PLACE, _LENGTH, _LENGTH]},
    ),
    AfterValidator(_box),
]
StrictBool = Annotated[bool, Field(strict=True)]


Url = Annotated[
    Annotated[str, Field(max_length=MAX_URL)] | None,
    Field(description="http(s) URL of an image, which the server downloads."),
]
Base64 = Annotated[str | None, Field(description="The encoded image in base64, or as a `data:` URL.")]


Text = Annotated[
    str,
    Field(
        max_length=MAX_TEXT,
        description="What the images must show, in words. Alone, or with an image: images similar to it that also "
        "show this. The answer has no E-values and no decision.",
    ),
]


class RequestModel(BaseModel):
    """Base of the request models; unknown members are refused."""

    model_config = ConfigDict(extra="forbid", str_max_length=1 << 31)

    @model_validator(mode="before")
    @classmethod
    def _first_unknown(cls, data: object) -> object:
        return validation.first_unknown(cls, data)


class QueryRequest(RequestModel):
    """A query: one of ``url``, ``base64`` and ``id``, optionally restricted to regions; a ``text``; or both."""

    url: Url = None
    base64: Base64 = None
    id: Annotated[
        Annotated[str, Field(min_length=1, max_length=MAX_ID_REFERENCE)] | None,
        Field(description="Id of an image of the collection."),
    ] = None
    text: Text = ""
    boxes: Annotated[
        list[BoxList],
        Field(
            max_length=MAX_BOXES,
            fail_fast=True,
            description="Regions to search for: x, y, width, height in pixels. Default: the whole image.",
        ),
    ] = []

    @model_validator(mode="after")
    def _one(self) -> Self:
        sources = ("url", "base64", "id")
        if not self.text.strip() or any(getattr(self, name) is not None for name in sources):
            _exactly_one(self, sources)
        elif self.boxes:
            raise ValueError("boxes are regions of an image, and the query has no image")
        return self


# -- search options: one member for each field of SearchOptions ------------------------------------------------

_LIMITS: Mapping[str, Mapping[str, Any]] = {
    "method": {"min_length": 1, "max_length": 100},
    "k": {"ge": 1, "le": MAX_K},
    "max_evalue": {"ge": 0},
    "rerank_depth": {"ge": 1, "le": MAX_RERANK_DEPTH},
}
"""Field -> constraints of its value, in addition to its type."""

_DESCRIPTIONS: Mapping[str, str] = {
    "method": "Name of a method, or `auto`: all methods of the collection together.",
    "k": "Largest number of hits.",
    "mode": "`exact`: score all images. `fast`: score the candidates of the ANN index. `auto`: choose by the size "
    "of the collection.",
    "mirror": "Also find mirror images; only with `verify`.",
    "evalues": "Compute E-values even with `verify: false`.",
    "min_score": "Omit hits with a lower score.",
    "max_evalue": "Omit hits with a higher E-value and hits without one.",
    "rerank_depth": "Number of candidates per method that are verified, at most 1000. A larger number finds "
    "weaker matches and takes longer. Default: 50 for methods with keypoints, 20 for others.",
    "ranking": "Verify the best candidates and rank by E-value; false: rank by the score of one method.",
    "where": "Metadata filter: search only the images that match it; see the guide on filters.",
}
"""Field of ``SearchOptions`` -> its description in the REST API; other fields use their docstrings."""

_CHECKS: Mapping[Any, Any] = {
    int: BeforeValidator(_whole),
    float: BeforeValidator(_number),
    bool: Field(strict=True),
}
"""Type of a field -> strict validator, which does not convert strings to numbers."""


class _OptionDocs(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    options: SearchOptions


_DOCS = _OptionDocs.model_json_schema()["$defs"][SearchOptions.__name__]["properties"]


def _option(name: str, kind: Any, default: Any) -> tuple[str, tuple[Any, Any]]:
    """Public name, type and default of a field of ``SearchOptions``."""
    description = _DESCRIPTIONS.get(name) or " ".join(_DOCS[name]["description"].split())
    if name == "ranking":
        return "verify", (Annotated[StrictBool, Field(description=description)], True)
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    plain = next(choice for choice in choices if choice is not type(None))
    if get_origin(plain) is not None and get_origin(plain) is not Literal:
        plain = dict[str, JsonValue]  # a mapping: the only option that is not a single value
    member: Any = Annotated[plain, Field(**_LIMITS.get(name, {}))]
    if plain in _CHECKS:
        member = Annotated[member, _CHECKS[plain]]
    if len(choices) > 1:
        member |= None
    return OPTION_NAMES.get(name, name), (Annotated[member, Field(description=description)], default)


def _options() -> dict[str, tuple[Any, Any]]:
    hints = get_type_hints(SearchOptions)
    assert all(one.default is not MISSING for one in fields(SearchOptions))  # noqa: S101 - no option is required
    return dict(_option(one.name, hints[one.name], one.default) for one in fields(SearchOptions))


_OPTIONS = cast(dict[str, Any], _options())

OptionFields: type[RequestModel] = create_model(
    "OptionFields", __base__=RequestModel, __doc__="Search options.", **_OPTIONS
)
SearchRequest: type[QueryRequest] = create_model(
    "SearchRequest", __base__=QueryRequest, __doc__="A search with one query.", **_OPTIONS
)


class _Queries(RequestModel):
    queries: Annotated[
        list[QueryRequest],
        Field(min_length=1, max_length=MAX_IMAGES, fail_fast=True, description="The queries."),
    ]


MultiSearchRequest: type[_Queries] = create_model(
    "MultiSearchRequest",
    __base__=_Queries,
    __doc__="A search with several queries; the response has one answer per query, in order.",
    **_OPTIONS,
)


def search_options(form: RequestModel) -> SearchOptions:
    """The search options of a request.

    Args:
        form: ``OptionFields``, ``SearchRequest`` or ``MultiSearchRequest``.
    """
    values = {one.name: getattr(form, OPTION_NAMES.get(one.name, one.name)) for one in fields(SearchOptions)}
    values["ranking"] = "evidence" if values["ranking"] else "matches"
    return SearchOptions(**values)


def form_fields(model: type[RequestModel]) -> dict[str, Any]:
    """The members of a model as text fields of a form: name -> JSON schema."""
    found = {}
    for name, member in model.model_json_schema()["properties"].items():
        choices: list[dict[str, Any]] = member.pop("anyOf", [])
        kind = next((choice for choice in choices if choice.get("type") != "null"), {})
        schema = {key: value for key, value in {**kind, **member}.items() if key not in {"title", "default"}}
        if member.get("default") is not None:
            schema["default"] = member["default"]
        if schema.get("type") == "object":
            schema = {"type": "string", "contentMediaType": "application/json"} | {
                key: schema[key] for key in ("description",) if key in schema
            }
        found[name] = schema
    return found


def field_types(model: type[RequestModel]) -> dict[str, type]:
    """The types of the members of a model, for ``request_images.parse_text_fields``."""
    kinds = {"integer": int, "number": float, "boolean": bool, "string": str}
    return {
        name: dict if "contentMediaType" in schema else kinds[schema["type"]]
        for name, schema in form_fields(model).items()
    }


# -- other requests --------------------------------------------------------------------------------------------


class CompareFields(RequestModel):
    """The text fields of a comparison."""

    method: Annotated[str, Field(min_length=1, max_length=100)] = "sift"


class TextFields(RequestModel):
    """The text of a query in a form."""

    text: Text = ""


class BoxFields(RequestModel):
    """The boxes in a form."""

    boxes: Annotated[list[BoxList], Field(max_length=MAX_BOXES, fail_fast=True)]


class ComparedImage(RequestModel):
    """An image to compare: exactly one of ``url``, ``base64`` and ``id``; ``id`` requires ``collection``."""

    url: Url = None
    base64: Base64 = None
    collection: Annotated[
        Annotated[str, Field(max_length=100)] | None, Field(description="Collection of the stored image.")
    ] = None
    id: Annotated[Annotated[str, Field(min_length=1)] | None, Field(description="Id of a stored image.")] = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("url", "base64", "id"))
        if (self.id is None) != (self.collection is None):
            raise ValueError("id and collection must be given together")
        return self


class CompareRequest(RequestModel):
    """Two images to compare."""

    a: Annotated[ComparedImage, Field(description="The first image.")]
    b: Annotated[ComparedImage, Field(description="The second image.")]
    method: Annotated[str, Field(min_length=1, max_length=100, description="Name of the method.")] = "sift"


class PutImageRequest(RequestModel):
    """An image to add: exactly one of ``url`` and ``base64``."""

    url: Url = None
    base64: Base64 = None
    metadata: Annotated[dict[str, JsonValue], Field(description="JSON object to store with the image.")] = {}

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("url", "base64"))
        return self


Ids = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=MAX_ID_REFERENCE)]],
    Field(max_length=MAX_IDS, fail_fast=True, description="Ids of images."),
]
Tags = Annotated[list[Annotated[str, Field(max_length=1000)]], Field(max_length=MAX_TAGS, fail_fast=True)]


class RemoveRequest(RequestModel):
    """Images to delete from a collection."""

    ids: Ids
    remember: Annotated[
        StrictBool,
        Field(description="Record the removals. If false, a job that finds the files adds the images again."),
    ] = True


class TagRequest(RequestModel):
    """Tags to add to images, and tags to remove from them."""

    ids: Ids
    add: Annotated[Tags, Field(description="Tags to add.")] = []
    remove: Annotated[Tags, Field(description="Tags to remove.")] = []


class ExportRequest(RequestModel):
    """Images to list in a file."""

    ids: Ids
    format: Annotated[Literal["csv", "json"], Field(description="Format of the file.")] = "csv"


def read(model: type[M], data: object) -> M:
    """Validate the data of a request.

    Raises:
        Problem: ``invalid_parameter``, with the name of the field.
    """
    if not isinstance(data, dict):
        raise Problem("invalid_parameter", "the request body must be a JSON object")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])[:200]
        message = validation.message(first)
        members: dict[str, Any] = {"field": field} if field else {}
        if first["type"] in {"greater_than_equal", "less_than_equal", "too_long", "string_too_long"}:
            members["limit"] = next(
                value for key, value in first["ctx"].items() if key in {"ge", "le", "max_length"}
            )
        hint = validation.HINT
        if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
            hint = did_you_mean(field, model.model_fields, otherwise=hint)
        text = f"{field}: {message}" if field else message
        detail = text.encode("utf-8", "backslashreplace").decode()
        raise Problem("invalid_parameter", detail, hint=hint, **members) from error


def _exactly_one(form: BaseModel, names: tuple[str, ...]) -> None:
    given = [name for name in names if getattr(form, name) is not None]
    if len(given) != 1:
        raise ValueError(f"exactly one of {', '.join(names)} is required, not {' and '.join(given) or 'none'}")


_BODIES: tuple[type[RequestModel], ...] = (
    *(SearchRequest, MultiSearchRequest, CompareRequest, PutImageRequest),
    *(RemoveRequest, TagRequest, ExportRequest),
)


def components() -> dict[str, Any]:
    """Name -> JSON schema of each request body, for the OpenAPI description."""
    found: dict[str, Any] = {}
    for model in _BODIES:
        schema = model.model_json_schema(ref_template=REF)
        found |= schema.pop("$defs", {})
        found[model.__name__] = schema
    for name, choices in _ONE_OF.items():
        members = {member for names in choices for member in names}
        found[name]["oneOf"] = [_choice(names, members) for names in choices]
    return found


_IMAGE = (("url",), ("base64",), ("id",))

_ONE_OF: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "SearchRequest": _IMAGE,
    "QueryRequest": _IMAGE,
    "ComparedImage": (("url",), ("base64",), ("id", "collection")),
    "PutImageRequest": (("url",), ("base64",)),
}
"""Model name -> sets of members of which exactly one must be given; the other members may be null."""


def _choice(names: tuple[str, ...], members: set[str]) -> dict[str, Any]:
    types = {name: {"type": "string" if name in names else "null"} for name in sorted(members)}
    return {"required": list(names), "properties": types}
