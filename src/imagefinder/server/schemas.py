"""The JSON forms that are not a plain list of ids."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ProblemDetails(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="where this kind of problem is explained, relative to the server")
    title: str = Field(description="the kind of problem, in words; the same for each occurrence")
    status: int = Field(description="the HTTP status")
    detail: str = Field(description="what happened this time")
    code: str = Field(description="stable name of the kind of problem, for programs")
    retryable: bool = Field(description="whether the same request may succeed later")
    hint: str = Field(description="what to do next; may be empty")
    request_id: str = Field(description="names this request in the server's log")


class MethodHealth(BaseModel):
    """Whether one method can answer."""

    name: str
    ready: bool = Field(description="whether pictures can be given to it now")
    reason: str = Field(description="why not; empty when ready")
    hint: str = Field(description="what to do about it; empty when ready")
    images: int = Field(description="images of the collection that have features of it")


class CollectionHealth(BaseModel):
    """Whether the collection can be read."""

    open: bool
    images: int
    failures: int = Field(description="images that could not be indexed")


class Health(BaseModel):
    """The state of the service."""

    status: Literal["ready", "starting", "unavailable"]
    live: bool
    ready: bool
    version: str
    collection: CollectionHealth
    methods: list[MethodHealth]


class Live(BaseModel):
    """The process answers."""

    live: bool


class Ready(BaseModel):
    """The service can be asked."""

    ready: bool
