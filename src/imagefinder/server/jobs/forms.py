"""What clients send to start a job, for validation and for the OpenAPI description."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator

from imagefinder.core.jobs import FORMER_KINDS

Name = Annotated[str, Field(min_length=1, max_length=200, description="name of the collection")]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class AddRequest(_Request):
    """Index what is in a folder of the server, in a list, or behind URLs: exactly one of them."""

    kind: Literal["add"]
    collection: Name = "default"
    folder: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=4096,
            description="a folder, archive or list on the server, in one of the folders its operator allowed",
        ),
    ] = None
    csv: Annotated[
        str | None,
        Field(min_length=1, description="a list as text; its first line names the columns, among them url and id"),
    ] = None
    urls: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=8000)]] | None,
        Field(min_length=1, max_length=100_000, description="addresses of pictures, which are their ids too"),
    ] = None
    methods: Annotated[
        list[str] | None, Field(description="methods to extract features for; by default those the collection has")
    ] = None
    prune: Annotated[
        bool, Field(description="remove images that came from the same folder or list and are no longer in it")
    ] = False

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(source is not None for source in (self.folder, self.csv, self.urls)) != 1:
            raise ValueError("give exactly one of folder, csv and urls")
        return self


class DuplicatesRequest(_Request):
    """Find the duplicates of a collection; its report is at ``/v1/collections/{collection}/duplicates``."""

    kind: Literal["duplicates"]
    collection: Name = "default"


class BuildIndexRequest(_Request):
    """Rebuild the ANN indexes of a collection."""

    kind: Literal["build-index"]
    collection: Name = "default"


def _current_kind(content: Any) -> Any:
    """Accept the kinds of version 0.1, which the schema no longer lists."""
    kind = content.get("kind") if isinstance(content, dict) else None
    if isinstance(kind, str) and kind in FORMER_KINDS:
        return {**content, "kind": FORMER_KINDS[kind]}
    return content


JobRequest = Annotated[
    Annotated[AddRequest | DuplicatesRequest | BuildIndexRequest, Field(discriminator="kind")],
    BeforeValidator(_current_kind),
]

REQUEST: TypeAdapter[AddRequest | DuplicatesRequest | BuildIndexRequest] = TypeAdapter(JobRequest)

SCHEMA = REQUEST.json_schema(ref_template="#/components/schemas/{model}")
"""Its JSON schema; what ``PARTS`` has goes to the components of the OpenAPI description."""

PARTS: dict[str, Any] = SCHEMA.pop("$defs")
PARTS[AddRequest.__name__]["oneOf"] = [
    {"required": [source], "properties": {source: {"type": kind}}}
    for source, kind in (("folder", "string"), ("csv", "string"), ("urls", "array"))
]

EXAMPLES: dict[str, Any] = {
    "folder": {"summary": "A folder of the server", "value": {"kind": "add", "folder": "/srv/pictures"}},
    "list": {
        "summary": "A list",
        "value": {"kind": "add", "collection": "default", "csv": "url,id\nhttps://example.org/cat.jpg,17\n"},
    },
    "urls": {"summary": "Some URLs", "value": {"kind": "add", "urls": ["https://example.org/cat.jpg"]}},
    "duplicates": {"summary": "Find duplicates", "value": {"kind": "duplicates", "collection": "default"}},
}
