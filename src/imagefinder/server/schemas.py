"""Response schemas of the problem details and the health endpoints."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from imagefinder.core.records import CalibrationState


class ProblemDetails(BaseModel):
    """An error response (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Documentation of this kind of problem, as a path on this server.")
    title: str = Field(description="Short summary of the kind of problem; the same for each occurrence.")
    status: int = Field(description="HTTP status code.")
    detail: str = Field(description="What happened in this case.")
    code: str = Field(description="Stable, machine-readable name of the kind of problem.")
    retryable: bool = Field(description="Whether the same request may succeed later.")
    hint: str = Field(description="What to do next; may be empty.")
    request_id: str = Field(description="Id of this request in the server's log.")


class MethodHealth(BaseModel):
    """The state of a method."""

    name: str = Field(description="Name of the method.")
    ready: bool = Field(description="Whether the method can be used now.")
    reason: str = Field(description="Why the method is not ready; empty if it is.")
    hint: str = Field(description="What to do about it; empty if the method is ready.")
    images: int = Field(description="Number of images with features of this method in the default collection.")


class CollectionHealth(BaseModel):
    """The state of the default collection."""

    open: bool = Field(description="Whether the collection can be read.")
    images: int = Field(description="Number of images.")
    failures: int = Field(description="Number of images that could not be added.")
    calibration: CalibrationState = Field(
        default="none",
        description="State of the calibration: `outdated` if the collection has changed much since, `running` in "
        "the background, `none` before the first one. Searches are answered in every state, cautiously in `none`.",
    )


class Health(BaseModel):
    """The state of the service."""

    status: Literal["ready", "starting", "unavailable"] = Field(
        description="`starting` while methods are loading, `unavailable` if the default collection cannot be read."
    )
    live: bool = Field(description="Always true: the process responds.")
    ready: bool = Field(description="Whether the service can answer searches.")
    version: str = Field(description="Version of imagefinder.")
    collection: CollectionHealth = Field(description="State of the default collection.")
    methods: list[MethodHealth] = Field(description="State of each installed method.")


class Live(BaseModel):
    """The process responds."""

    live: bool = Field(description="Always true.")


class Ready(BaseModel):
    """The service is ready."""

    ready: bool = Field(description="Always true; a service that is not ready responds with 503.")
