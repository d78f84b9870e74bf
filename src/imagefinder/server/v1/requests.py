"""What clients send to ``/v1``, checked to the last member."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import UnionType
from typing import Annotated, Any, Literal, Self, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pydantic import (
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
from imagefinder.core.query import MAX_BOXES, MAX_RERANK_DEPTH, SearchOptions
from imagefinder.server.errors import Problem

MAX_K = 1000
MAX_IMAGES = 16
"""Queries of one search request."""

MAX_ID = 1024
"""Characters of a new id."""

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
        raise ValueError("must be a number")  # noqa: TRY004 - what pydantic expects
    try:
        if math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise ValueError("must be a number of usual size")


Number = Annotated[float, BeforeValidator(_number)]
BoxForm = Annotated[list[Number], Field(min_length=4, max_length=4)]
Truth = Annotated[bool, Field(strict=True)]


class RequestModel(BaseModel):
    """What a client sends; members of other names are refused."""

    model_config = ConfigDict(extra="forbid", str_max_length=1 << 31)


class ImageReference(RequestModel):
    """An image: exactly one of ``url``, ``base64`` and ``id``."""

    url: (
        Annotated[str, Field(max_length=MAX_URL, description="http(s) address; the server downloads it")] | None
    ) = None
    base64: Annotated[str, Field(description="the encoded image; a data: URL is accepted, too")] | None = None
    id: (
        Annotated[str, Field(min_length=1, max_length=MAX_NAMED, description="of an image of the collection")]
        | None
    ) = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("url", "base64", "id"))
        return self


class QueryForm(ImageReference):
    """One of several queries."""

    boxes: Annotated[
        list[BoxForm],
        Field(
            max_length=MAX_BOXES,
            description="x, y, width, height in pixels: only these regions of the image count",
        ),
    ] = []


# -- search options: one member for each field of SearchOptions ------------------------------------------------

_LIMITS: Mapping[str, Mapping[str, Any]] = {
    "method": {"min_length": 1, "max_length": 100},
    "k": {"ge": 1, "le": MAX_K},
    "max_evalue": {"ge": 0},
    "rerank_depth": {"ge": 1, "le": MAX_RERANK_DEPTH},
}
"""What a request may not exceed, beyond the type of the field."""

_DESCRIPTIONS: Mapping[str, str] = {
    "ranking": "rank by E-value and verify the best candidates; false: rank by the score of one method",
    "where": "only images whose metadata match; see the guide on filters",
}
"""Descriptions of the fields that have another name here."""

_CHECKS: Mapping[Any, Any] = {
    int: BeforeValidator(_whole),
    float: BeforeValidator(_number),
    bool: Field(strict=True),
}
"""Type of a field -> what makes it strict: JSON says itself whether a value is a number."""


class _OptionDocs(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    options: SearchOptions


_DOCS = _OptionDocs.model_json_schema()["$defs"][SearchOptions.__name__]["properties"]


def _option(name: str, kind: Any, default: Any) -> tuple[str, tuple[Any, Any]]:
    """Public name, type and default of a field of ``SearchOptions``."""
    description = _DESCRIPTIONS.get(name) or " ".join(_DOCS[name]["description"].split())
    if name == "ranking":
        return "verify", (Annotated[Truth, Field(description=description)], True)
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    plain = next(choice for choice in choices if choice is not type(None))
    if get_origin(plain) is not None and get_origin(plain) is not Literal:
        plain = dict[str, JsonValue]  # a mapping: the only kind of option that is no single value
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

Options: type[RequestModel] = create_model("Options", __base__=RequestModel, __doc__="Search options.", **_OPTIONS)
SearchOne: type[QueryForm] = create_model(
    "SearchOne", __base__=QueryForm, __doc__="A search with one image.", **_OPTIONS
)


class _Queries(RequestModel):
    queries: Annotated[list[QueryForm], Field(min_length=1, max_length=MAX_IMAGES)]


SearchMany: type[_Queries] = create_model(
    "SearchMany",
    __base__=_Queries,
    __doc__="A search with several images; each is answered by itself, in order.",
    **_OPTIONS,
)


def search_options(form: RequestModel) -> SearchOptions:
    """The options of a request.

    Args:
        form: ``Options``, ``SearchOne`` or ``SearchMany``.
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


def text_kinds(model: type[RequestModel]) -> dict[str, type]:
    """The members of a model as text fields of a form: name -> what the text holds, for ``uploads.from_texts``."""
    kinds = {"integer": int, "number": float, "boolean": bool, "string": str}
    return {
        name: dict if "contentMediaType" in schema else kinds[schema["type"]]
        for name, schema in form_fields(model).items()
    }


# -- other requests --------------------------------------------------------------------------------------------


class MethodOnly(RequestModel):
    """The text fields of a comparison."""

    method: Annotated[str, Field(min_length=1, max_length=100)] = "sift"


class Boxes(RequestModel):
    """The boxes of a form."""

    boxes: Annotated[list[BoxForm], Field(max_length=MAX_BOXES)]


class Side(RequestModel):
    """An image to compare: exactly one of ``url``, ``base64`` and ``id`` with its ``collection``."""

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


class CompareForm(RequestModel):
    """Two images."""

    a: Side
    b: Side
    method: Annotated[str, Field(min_length=1, max_length=100)] = "sift"


class PutForm(RequestModel):
    """An image to store: exactly one of ``url`` and ``base64``."""

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


def components() -> dict[str, Any]:
    """The JSON schemas of request bodies, for the OpenAPI description."""
    found: dict[str, Any] = {}
    for model in (SearchOne, SearchMany, CompareForm, PutForm):
        schema = model.model_json_schema(ref_template=REF)
        found |= schema.pop("$defs", {})
        found[model.__name__] = schema
    for name, choices in _ONE_OF.items():
        members = {member for names in choices for member in names}
        found[name]["oneOf"] = [_choice(names, members) for names in choices]
    return found


_IMAGE = (("url",), ("base64",), ("id",))

_ONE_OF: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "SearchOne": _IMAGE,
    "QueryForm": _IMAGE,
    "Side": (("url",), ("base64",), ("id", "collection")),
    "PutForm": (("url",), ("base64",)),
}
"""Forms of which exactly one of these sets of members is given; the others may be null."""


def _choice(names: tuple[str, ...], members: set[str]) -> dict[str, Any]:
    types = {name: {"type": "string" if name in names else "null"} for name in sorted(members)}
    return {"required": list(names), "properties": types}
