"""``/v1/explanations/{handle}``: why images were found, for a while after the search."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from imagefinder.collection import Collection
from imagefinder.core.answers import SearchAnswer
from imagefinder.core.results import AUTO, Explanation
from imagefinder.images.resize import thumbnail
from imagefinder.server.errors import responses
from imagefinder.server.explanations import Asked
from imagefinder.server.service import Service, ServiceDep
from imagefinder.server.v1.answers import respond
from imagefinder.server.v1.images import METHOD_CODES, ImageId, cached

MAX_SIDE = 2048

Handle = Annotated[str, Path(description="from the answer of a search", max_length=100)]
MethodName = Annotated[
    str,
    Query(
        min_length=1, max_length=100, description="name of a method, or auto: the one with the strongest evidence"
    ),
]

_ONE = ("unknown_handle", "invalid_parameter", "not_ready", "busy", "store_error", "internal_error")
_IMAGE = (*_ONE, "unknown_collection", "unknown_image", "unknown_method", "invalid_input", *METHOD_CODES)


router = APIRouter(tags=["explanations"], prefix="/v1/explanations/{handle}")


@router.get(
    "",
    operation_id="get_result",
    summary="The answer again, for shared links",
    response_model=SearchAnswer,
    responses=responses(["unknown_handle", "invalid_parameter", "internal_error"]),
)
async def get_result(service: ServiceDep, handle: Handle) -> JSONResponse:
    return JSONResponse(service.explanations.result(handle))


@router.get(
    "/query",
    operation_id="get_query",
    summary="The query image, upright",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
        304: {"description": "It is the one of If-None-Match"},
        **responses((*_ONE, "unknown_collection", "unknown_image")),
    },
)
async def get_query(
    service: ServiceDep,
    request: Request,
    handle: Handle,
    width: Annotated[int, Query(ge=16, le=MAX_SIDE, description="pixels of the longer side, at most")] = MAX_SIDE,
) -> Response:
    asked = service.explanations.asked(handle)

    def work() -> bytes:
        collection = service.collections.get(asked.collection)
        return thumbnail(collection.pixels(_picture(collection, asked)), side=width, quality=90)

    with service.admission.admit():
        return cached(request, await service.admission.run(work), "image/jpeg")


@router.get(
    "/images/{image_id:path}",
    operation_id="explain",
    summary="Explain an image of the collection, whether it is a hit or not",
    description="Matches, the transform, outlines, heat and the numbers behind the E-value. Places are in "
    "pixels of `query_size` and `candidate_size`.",
    response_model=Explanation,
    responses=responses(_IMAGE),
)
async def explain(
    service: ServiceDep, handle: Handle, image_id: ImageId, method: MethodName = AUTO
) -> JSONResponse:
    asked = service.explanations.asked(handle)

    def work() -> JSONResponse:
        collection = service.collections.get(asked.collection)
        return respond(_explained(service, (handle, asked), _picture(collection, asked), image_id, method))

    with service.admission.admit():
        return await service.admission.run(work)


@router.get(
    "/pictures/{image_id:path}",
    operation_id="draw",
    summary="The explanation as an image",
    response_class=Response,
    responses={
        200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
        304: {"description": "It is the one of If-None-Match"},
        **responses(_IMAGE),
    },
)
async def draw(
    service: ServiceDep, request: Request, handle: Handle, image_id: ImageId, method: MethodName = AUTO
) -> Response:
    asked = service.explanations.asked(handle)

    def work() -> bytes:
        collection = service.collections.get(asked.collection)
        picture = _picture(collection, asked)
        return collection.draw(_explained(service, (handle, asked), picture, image_id, method), picture)

    with service.admission.admit():
        return cached(request, await service.admission.run(work), "image/png")


def _picture(collection: Collection, asked: Asked) -> bytes | np.ndarray[Any, np.dtype[np.uint8]]:
    """What was asked with; of a stored image the unchanged original or else the thumbnail."""
    return asked.data if asked.image_id is None else collection.stored_pixels(asked.image_id)


def _explained(
    service: Service,
    query: tuple[str, Asked],
    picture: bytes | np.ndarray[Any, np.dtype[np.uint8]],
    image_id: str,
    method: str,
) -> Explanation:
    handle, asked = query
    collection = service.collections.get(asked.collection)
    record = collection.get(image_id)
    return service.explanations.explained(
        (handle, image_id, method, record.sha256, record.added_at),
        lambda: collection.explain(
            picture, image_id, method=method, mirror=asked.mirror, boxes=asked.boxes, where=asked.where
        ),
    )
