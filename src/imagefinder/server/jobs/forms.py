"""The JSON forms of jobs, for validation and for the OpenAPI description."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from imagefinder.server.jobs.job import MAX_FAILURES, Kind, State

Name = Annotated[str, Field(min_length=1, max_length=200, description="name of the collection")]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class IndexRequest(_Request):
    """Index what is in a folder of the server, in a list, or behind URLs: exactly one of them."""

    kind: Literal["index"]
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


class RebuildRequest(_Request):
    """Make what is derived from the features of a collection anew."""

    kind: Literal["rebuild"]
    collection: Name = "default"


JobRequest = Annotated[IndexRequest | DuplicatesRequest | RebuildRequest, Field(discriminator="kind")]

REQUEST: TypeAdapter[IndexRequest | DuplicatesRequest | RebuildRequest] = TypeAdapter(JobRequest)

SCHEMA = REQUEST.json_schema(ref_template="#/components/schemas/{model}")
"""Its JSON schema; what ``PARTS`` has goes to the components of the OpenAPI description."""

PARTS: dict[str, Any] = SCHEMA.pop("$defs")
PARTS[IndexRequest.__name__]["oneOf"] = [
    {"required": [source], "properties": {source: {"type": kind}}}
    for source, kind in (("folder", "string"), ("csv", "string"), ("urls", "array"))
]

EXAMPLES: dict[str, Any] = {
    "folder": {"summary": "A folder of the server", "value": {"kind": "index", "folder": "/srv/pictures"}},
    "list": {
        "summary": "A list",
        "value": {"kind": "index", "collection": "default", "csv": "url,id\nhttps://example.org/cat.jpg,17\n"},
    },
    "urls": {"summary": "Some URLs", "value": {"kind": "index", "urls": ["https://example.org/cat.jpg"]}},
    "duplicates": {"summary": "Find duplicates", "value": {"kind": "duplicates", "collection": "default"}},
}


class ProgressForm(BaseModel):
    """How far a job is."""

    stage: str = Field(description="what it does now; empty before the start")
    done: int = Field(description="steps of this stage that are done: pictures, mostly")
    total: int | None = Field(description="of how many; null while that is not known")
    added: int = Field(description="pictures added or replaced so far")
    skipped: int = Field(description="pictures that were there already")
    failed: int = Field(description="pictures that could not be used")


class FailureForm(BaseModel):
    """A picture that could not be used."""

    id: str
    uri: str = Field(description="where it would have come from, if that is a URL; otherwise empty")
    code: str = Field(description="stable name of the kind of error")
    message: str


class JobProblemForm(BaseModel):
    """Why a job failed."""

    code: str = Field(description="stable name of the kind of problem")
    detail: str
    hint: str = Field(description="what to do next; may be empty")


class JobForm(BaseModel):
    """A job."""

    id: str
    kind: Kind
    collection: str
    state: State
    created_at: str = Field(description="ISO 8601, UTC")
    started_at: str | None
    finished_at: str | None
    progress: ProgressForm
    failures: list[FailureForm] = Field(description=f"the first {MAX_FAILURES} pictures that could not be used")
    result: dict[str, Any] | None = Field(description="what it did or found, in the end")
    problem: JobProblemForm | None = Field(description="why it failed")


class JobsForm(BaseModel):
    """A page of jobs, the newest first."""

    jobs: list[JobForm]
    next_cursor: str | None = Field(description="for the next page; null on the last one")
