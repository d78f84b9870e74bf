"""``/v1/explanations/{handle}``: why images were found, for a while after the search."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from imagefinder.core.answers import SearchAnswer
from imagefinder.core.results import AUTO, Explanation
from imagefinder.images.resize import thumbnail
from imagefinder.server.errors import responses
from imagefinder.server.explanations import KeptSearch
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
    search = service.explanations.search(handle)

    def work() -> bytes:
        collection, query = service.collections.get(search.collection), search.trace.query
        if query.image is None:  # its unchanged original or else its thumbnail
            pixels = collection.stored_pixels(query.id or "")
        else:
            pixels = collection.pixels(query.image)
        return thumbnail(pixels, side=width, quality=90)

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
    search = service.explanations.search(handle)

    def work() -> JSONResponse:
        return respond(_explained(service, handle, search, image_id, method))

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
    search = service.explanations.search(handle)

    def work() -> bytes:
        explanation = _explained(service, handle, search, image_id, method)
        return service.collections.get(search.collection).draw(explanation, search.trace.query)

    with service.admission.admit():
        return cached(request, await service.admission.run(work), "image/png")


def _explained(service: Service, handle: str, search: KeptSearch, image_id: str, method: str) -> Explanation:
    collection = service.collections.get(search.collection)
    record = collection.get(image_id)
    query_id = search.trace.query.id
    stored_query = collection.status([query_id]).get(query_id) if query_id is not None else None
    return service.explanations.explained(
        (handle, image_id, method, record.sha256, record.added_at, stored_query),
        lambda: collection.explain(search.trace, image_id, method=method),
    )
