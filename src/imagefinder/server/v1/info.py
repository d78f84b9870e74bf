"""``/v1/info``, ``/v1/limits``, ``/v1/methods``: the server, its limits and its methods."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from imagefinder.collection import Collection
from imagefinder.core.answers import AuthInfo, MethodList, MethodStatus, ServerInfo, ServerLimits
from imagefinder.core.collection_names import DEFAULT
from imagefinder.core.errors import ImagefinderError
from imagefinder.core.image_formats import IMAGE_SUFFIXES
from imagefinder.core.method import Method, MethodState
from imagefinder.core.query import MAX_BOXES
from imagefinder.core.times import iso
from imagefinder.images.fetching.fetcher import MAX_REDIRECTS
from imagefinder.server import request_context
from imagefinder.server.access import only_local
from imagefinder.server.endpoints import FairRoute
from imagefinder.server.errors import responses
from imagefinder.server.request_context import Caller
from imagefinder.server.service import ServiceDep
from imagefinder.server.v1 import requests
from imagefinder.server.v1.answers import respond

router = APIRouter(tags=["server"], route_class=FairRoute)


@router.get(
    "/v1/info",
    operation_id="info",
    summary="Get information about the server",
    description="Version, collections, and what the sender of the request may do.",
    response_model=ServerInfo,
    response_description="Information about the server.",
    responses=responses(["internal_error"]),
)
def info(service: ServiceDep) -> JSONResponse:
    caller, settings = request_context.caller() or Caller(), service.settings
    return respond(
        ServerInfo(
            version=service.version,
            started_at=iso(service.started_at.timestamp()),
            collections=tuple(service.collections.names()),
            default_collection=DEFAULT,
            auth=AuthInfo(service.keys_required, caller.access),
            url_queries=settings.url_queries,
            job_roots=tuple(map(str, settings.job_roots)) if caller.access == "write" else (),
            read_only=False,
            shows_locations=only_local(settings),
            image_suffixes=tuple(sorted(IMAGE_SUFFIXES)),
            keep_originals=settings.keep_originals,
        )
    )


@router.get(
    "/v1/limits",
    operation_id="limits",
    summary="Get the limits of the server",
    response_model=ServerLimits,
    response_description="The limits.",
    responses=responses(["internal_error"]),
)
async def limits(service: ServiceDep) -> JSONResponse:
    settings = service.settings
    return respond(
        ServerLimits(
            max_image_bytes=settings.max_image_bytes,
            max_image_pixels=settings.max_image_pixels,
            max_k=requests.MAX_K,
            max_boxes=MAX_BOXES,
            max_images_per_request=requests.MAX_IMAGES,
            max_json_bytes=settings.max_json_bytes,
            request_seconds=settings.request_seconds,
            concurrent=service.admission.running,
            queue=settings.queue,
            requests_per_minute=settings.requests_per_minute or None,
            explanation_seconds=settings.explanation_seconds,
            page_size=requests.MAX_PAGE,
            url_seconds=settings.url_seconds,
            url_redirects=MAX_REDIRECTS,
        )
    )


@router.get(
    "/v1/methods",
    operation_id="methods",
    summary="List the installed methods",
    description="For each method: its kind, whether it can be used now, and if not, why.",
    response_model=MethodList,
    response_description="The methods.",
    responses=responses(["store_error", "internal_error"]),
)
def methods(service: ServiceDep) -> JSONResponse:
    collection = service.collections.default
    return respond(MethodList(tuple(_status(collection, state) for state in collection.methods())))


def _status(collection: Collection, state: MethodState) -> MethodStatus:
    spec = state.spec
    explains: list[Literal["matches", "heat"]] = ["matches"] if spec and spec.kind == "local" else []
    method = _method(collection, state.name) if spec else None
    if method and method.mapper:
        explains.append("heat")
    return MethodStatus(
        name=state.name,
        summary=state.summary,
        score=state.score,
        kind=spec.kind if spec else None,
        dim=spec.dim if spec else None,
        dtype=spec.dtype if spec else None,
        ready=state.ready,
        reason=state.reason,
        hint=state.hint,
        fingerprint=state.fingerprint.digest if state.fingerprint else None,
        explains=tuple(explains),
        words=method is not None and method.text is not None,
    )


def _method(collection: Collection, name: str) -> Method | None:
    try:
        return collection.method(name)
    except ImagefinderError:
        return None
