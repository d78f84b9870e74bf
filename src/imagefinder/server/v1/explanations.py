"""``/v1/explanations/{handle}``: recent answers and explanations of their hits."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from imagefinder.core.answers import SearchAnswer
from imagefinder.core.errors import InputError
from imagefinder.core.results import AUTO, Explanation
from imagefinder.images.resize import thumbnail
from imagefinder.server.errors import responses
from imagefinder.server.head import headers_only, is_head
from imagefinder.server.image_paths import ImageId
from imagefinder.server.search_cache import CachedSearch, SearchHandle
from imagefinder.server.service import Service, ServiceDep
from imagefinder.server.v1.answers import respond
from imagefinder.server.v1.images import METHOD_CODES, NOT_MODIFIED, binary, cached
from imagefinder.server.v1.search import answer_of

MAX_SIDE = 2048

Handle = Annotated[
    str, Path(description="Handle of a recent search: `explanations.handle` of its answer.", max_length=100)
]
MethodName = Annotated[
    str,
    Query(
        min_length=1,
        max_length=100,
        description="Name of the method to explain; `auto`: the method with the strongest evidence.",
    ),
]

_ONE = ("unknown_handle", "invalid_parameter", "not_ready", "busy", "store_error", "internal_error")
_IMAGE = (*_ONE, "unknown_collection", "unknown_image", "unknown_method", "invalid_input", *METHOD_CODES)


router = APIRouter(tags=["explanations"], prefix="/v1/explanations/{handle}")


@router.get(
    "",
    operation_id="get_result",
    summary="Get the answer of a recent search",
    description="Returns the answer as it was sent; useful for links to results.",
    response_model=SearchAnswer,
    response_description="The answer.",
    responses=responses(["unknown_handle", "invalid_parameter", "internal_error"]),
)
async def get_result(service: ServiceDep, handle: Handle) -> JSONResponse:
    def work() -> JSONResponse:
        search, expires = service.search_cache.find(handle)
        return JSONResponse(answer_of(search, SearchHandle(handle, expires), places=service.settings.places))

    return await service.block(work)


@router.get(
    "/query",
    operation_id="get_query",
    summary="Get the query image of a recent search",
    description="A JPEG, upright, reduced to `width` if it is larger.",
    response_class=Response,
    responses={
        200: binary("The query image.", "image/jpeg"),
        304: NOT_MODIFIED,
        **responses((*_ONE, "unknown_collection", "unknown_image")),
    },
)
async def get_query(
    service: ServiceDep,
    request: Request,
    handle: Handle,
    width: Annotated[
        int, Query(ge=16, le=MAX_SIDE, description="Largest length of the longer side, pixels.")
    ] = MAX_SIDE,
) -> Response:
    search = await service.block(lambda: service.search_cache.search(handle))
    if is_head(request):
        return headers_only("image/jpeg")

    def work() -> bytes:
        collection, query = service.collections.get(search.collection), search.trace.query
        if query.image is None:  # a stored image: its original if unchanged, otherwise its thumbnail
            pixels = collection.stored_pixels(query.id or "")
        else:
            pixels = collection.pixels(query.image)
        return thumbnail(pixels, side=width, quality=90)

    with service.admission.admit():
        return cached(request, await service.admission.run(work), "image/jpeg")


@router.get(
    "/image",
    operation_id="explain_by_id",
    summary="Explain why an image matches the query",
    description="Returns the matches, the transform, the outlines, the heat map and the numbers behind the "
    "E-value. The image can be any image of the collection, not only a hit. Coordinates are in pixels of "
    "`query_size` and `candidate_size`.",
    response_model=Explanation,
    response_description="The explanation.",
    responses=responses(_IMAGE),
)
async def explain(
    service: ServiceDep, request: Request, handle: Handle, image_id: ImageId, method: MethodName = AUTO
) -> Response:
    search = await service.block(lambda: service.search_cache.search(handle))
    if is_head(request):
        return await _headers(service, search, image_id, "application/json")

    def work() -> JSONResponse:
        return respond(_explanation(service, handle, search, image_id, method))

    with service.admission.admit():
        return await service.admission.run(work)


@router.get(
    "/drawing",
    operation_id="draw_by_id",
    summary="Draw the explanation of an image",
    description="A PNG that shows the query and the image with matches, outlines or heat map.",
    response_class=Response,
    responses={
        200: binary("The drawing.", "image/png"),
        304: NOT_MODIFIED,
        **responses(_IMAGE),
    },
)
async def draw(
    service: ServiceDep, request: Request, handle: Handle, image_id: ImageId, method: MethodName = AUTO
) -> Response:
    search = await service.block(lambda: service.search_cache.search(handle))
    if is_head(request):
        return await _headers(service, search, image_id, "image/png")

    def work() -> bytes:
        explanation = _explanation(service, handle, search, image_id, method)
        return service.collections.get(search.collection).draw(explanation, search.trace.query)

    with service.admission.admit():
        return cached(request, await service.admission.run(work), "image/png")


async def _headers(service: Service, search: CachedSearch, image_id: str, media_type: str) -> Response:
    """The response to HEAD: the image must exist, but nothing is explained."""
    await service.block(lambda: service.collections.get(search.collection).get(image_id))
    return headers_only(media_type)


def _explanation(service: Service, handle: str, search: CachedSearch, image_id: str, method: str) -> Explanation:
    collection = service.collections.get(search.collection)
    record = collection.get(image_id)

    def explain() -> Explanation:
        try:
            return collection.explain(search.trace, image_id, method=method)
        except InputError:
            collection.get(image_id)  # raises unknown_image if the image was deleted in the meantime
            raise

    query_id = search.trace.query.id
    stored_query = collection.status([query_id]).get(query_id) if query_id is not None else None
    return service.search_cache.explanation(
        (handle, image_id, method, record.sha256, record.added_at, stored_query),
        explain,
    )
