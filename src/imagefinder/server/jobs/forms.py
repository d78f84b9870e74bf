"""Request models that start jobs, for validation and the OpenAPI description."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator

from imagefinder.core.jobs import FORMER_KINDS
from imagefinder.server import validation

Name = Annotated[str, Field(min_length=1, max_length=200, description="Name of the collection.")]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _first_unknown(cls, data: object) -> object:
        return validation.first_unknown(cls, data)


class AddRequest(_Request):
    """Add images from exactly one source: a folder of the server, a CSV list or a list of URLs."""

    kind: Literal["add"]
    collection: Name = "default"
    folder: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=4096,
            description="Path of a folder, archive or CSV list on the server; must be inside one of `job_roots` "
            "(see `GET /v1/info`).",
        ),
    ] = None
    csv: Annotated[
        str | None,
        Field(min_length=1, description="CSV text with a header line; the columns `url` and `id` are required."),
    ] = None
    urls: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=8000)]] | None,
        Field(
            min_length=1,
            max_length=100_000,
            fail_fast=True,
            description="URLs of images; each URL is also the id of its image.",
        ),
    ] = None
    methods: Annotated[
        list[str] | None,
        Field(
            fail_fast=True,
            description="Methods whose features are extracted; default: those that the collection has.",
        ),
    ] = None
    prune: Annotated[
        bool, Field(description="Remove images that came from the same source and are no longer in it.")
    ] = False
    force_prune: Annotated[
        bool, Field(description="Like `prune`, also if a whole folder of the source has vanished.")
    ] = False
    verify_content: Annotated[
        bool, Field(description="Read every image again, also those whose size, times and inode show no change.")
    ] = False
    include_removed: Annotated[
        bool, Field(description="Also add images that were removed from the collection.")
    ] = False

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(source is not None for source in (self.folder, self.csv, self.urls)) != 1:
            raise ValueError("exactly one of folder, csv and urls is required")
        return self


class DuplicatesRequest(_Request):
    """Find the duplicates in a collection. The report is at ``/v1/collections/{collection}/duplicates``."""

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
"""JSON schema of a job request; refers to the components in ``PARTS``."""

PARTS: dict[str, Any] = SCHEMA.pop("$defs")
"""Component name -> JSON schema, for the components of the OpenAPI description."""

PARTS[AddRequest.__name__]["oneOf"] = [
    {"required": [source], "properties": {source: {"type": kind}}}
    for source, kind in (("folder", "string"), ("csv", "string"), ("urls", "array"))
]

EXAMPLES: dict[str, Any] = {
    "folder": {"summary": "Add a folder of the server", "value": {"kind": "add", "folder": "/srv/images"}},
    "list": {
        "summary": "Add a CSV list",
        "value": {"kind": "add", "collection": "default", "csv": "url,id\nhttps://example.org/cat.jpg,17\n"},
    },
    "urls": {"summary": "Add images by URL", "value": {"kind": "add", "urls": ["https://example.org/cat.jpg"]}},
    "duplicates": {"summary": "Find duplicates", "value": {"kind": "duplicates", "collection": "default"}},
}
