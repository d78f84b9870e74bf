"""``/v1/info``, ``/v1/limits``, ``/v1/methods``: what this server is and can."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from imagefinder.collection import Collection
from imagefinder.core.errors import ImagefinderError
from imagefinder.core.method import MethodState
from imagefinder.core.query import MAX_BOXES
from imagefinder.images.fetch import MAX_REDIRECTS
from imagefinder.server.collections import DEFAULT
from imagefinder.server.errors import responses
from imagefinder.server.exchange import current
from imagefinder.server.v1 import pictures, schemas
from imagefinder.server.v1.service import Service, iso


def router(service: Service) -> APIRouter:
    """The endpoints about the server itself."""
    routes = APIRouter(tags=["server"])
    settings = service.settings

    @routes.get(
        "/v1/info",
        operation_id="info",
        summary="What this server is",
        response_model=schemas.Info,
        responses=responses(["internal_error"]),
    )
    def info() -> JSONResponse:
        exchange = current.get()
        return JSONResponse(
            {
                "version": service.version,
                "started_at": iso(service.started_at.timestamp()),
                "collections": service.collections.names(),
                "default_collection": DEFAULT,
                "auth": {"required": service.keys_demanded, "access": exchange.access if exchange else "none"},
                "url_queries": settings.url_queries,
                "job_roots": [str(root) for root in settings.job_roots],
                "read_only": False,
            }
        )

    @routes.get(
        "/v1/limits",
        operation_id="limits",
        summary="How much is accepted",
        response_model=schemas.Limits,
        responses=responses(["internal_error"]),
    )
    async def limits() -> JSONResponse:
        return JSONResponse(
            {
                "max_image_bytes": settings.max_image_bytes,
                "max_image_pixels": settings.max_image_pixels,
                "max_k": schemas.MAX_K,
                "max_boxes": MAX_BOXES,
                "max_images_per_request": schemas.MAX_IMAGES,
                "max_json_bytes": pictures.max_json_bytes(service),
                "request_seconds": settings.request_seconds,
                "concurrent": service.gate.running,
                "queue": settings.queue,
                "requests_per_minute": settings.requests_per_minute or None,
                "explanation_seconds": settings.explanation_seconds,
                "page_size": schemas.MAX_PAGE,
                "url_seconds": settings.url_seconds,
                "url_redirects": MAX_REDIRECTS,
            }
        )

    @routes.get(
        "/v1/methods",
        operation_id="methods",
        summary="The methods that are installed, and whether they can be used",
        response_model=schemas.Methods,
        responses=responses(["store_error", "internal_error"]),
    )
    def methods() -> JSONResponse:
        collection = service.collections.get(DEFAULT)
        return JSONResponse({"methods": [_method(collection, state) for state in collection.methods()]})

    return routes


def _method(collection: Collection, state: MethodState) -> dict[str, Any]:
    spec = state.spec
    explains = ["matches"] if spec and spec.kind == "local" else []
    if spec and _has_heat(collection, state.name):
        explains.append("heat")
    return {
        "name": state.name,
        "summary": state.summary,
        "score": state.score,
        "kind": spec.kind if spec else None,
        "dim": spec.dim if spec else None,
        "dtype": spec.dtype if spec else None,
        "ready": state.ready,
        "reason": state.reason,
        "hint": state.hint,
        "fingerprint": state.fingerprint.digest if state.fingerprint else None,
        "explains": explains,
    }


def _has_heat(collection: Collection, name: str) -> bool:
    try:
        return collection.method(name).mapper is not None
    except ImagefinderError:
        return False
