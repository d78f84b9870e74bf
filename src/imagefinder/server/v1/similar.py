"""``GET .../similar``: the images of a collection in the order of similarity, page by page, without decisions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from imagefinder.core.query import Query as SearchQuery
from imagefinder.core.results import AUTO
from imagefinder.core.similarity import SimilarImage, SimilarPage
from imagefinder.server.errors import responses
from imagefinder.server.head import headers_only, is_head
from imagefinder.server.image_paths import ImageId
from imagefinder.server.service import Service, ServiceDep
from imagefinder.server.v1 import cursor
from imagefinder.server.v1.answers import image_answers, respond
from imagefinder.server.v1.collections import Name
from imagefinder.server.v1.explanations import Handle
from imagefinder.server.v1.images import METHOD_CODES
from imagefinder.server.v1.requests import MAX_K

MethodName = Annotated[
    str,
    Query(
        min_length=1,
        max_length=100,
        description="Name of a method; `auto`: one with a vector for each image, if there is one.",
    ),
]
Limit = Annotated[int, Query(ge=1, le=200, description="Largest number of images on the page.")]
DEFAULT_LIMIT = 60

_DESCRIPTION = (
    f"The {MAX_K} most similar images, ordered by the score of one method, without verification and decisions. "
    "Images that are added while a client reads the pages may shift them."
)
_CODES = (
    *("unknown_collection", "unknown_image", "unknown_method", "invalid_parameter", "invalid_input", "busy"),
    *("not_ready", *METHOD_CODES, "shortlist_unavailable", "store_error", "internal_error"),
)

router = APIRouter(tags=["search"], prefix="/v1")


@router.get(
    "/collections/{collection}/similar",
    operation_id="similar",
    summary="List the images that are similar to a stored image",
    description=_DESCRIPTION,
    response_model=SimilarPage,
    response_description="A page of images.",
    responses=responses(_CODES),
)
async def similar(  # wide: one parameter for each part of the request
    *,
    service: ServiceDep,
    request: Request,
    collection: Name,
    image_id: ImageId,
    method: MethodName = AUTO,
    limit: Limit = DEFAULT_LIMIT,
    after: cursor.Cursor = "",
) -> Response:
    query = SearchQuery(id=image_id)
    return await _page(service, request, (collection, query, method), (_position(after), limit))


@router.get(
    "/explanations/{handle}/similar",
    operation_id="similar_to_query",
    summary="List the images that are similar to the query of a recent search",
    description=_DESCRIPTION,
    response_model=SimilarPage,
    response_description="A page of images.",
    responses=responses(("unknown_handle", *_CODES)),
)
async def similar_to_query(
    *,
    service: ServiceDep,
    request: Request,
    handle: Handle,
    method: MethodName = AUTO,
    limit: Limit = DEFAULT_LIMIT,
    after: cursor.Cursor = "",
) -> Response:
    search = await service.block(lambda: service.search_cache.search(handle))
    what = (search.collection, search.trace.query, method)
    return await _page(service, request, what, (_position(after), limit))


def _position(after: str) -> int:
    """The position in the order of similarity that a cursor marks."""
    position = cursor.read(after) or "0"
    if not position.isascii() or not position.isdigit() or int(position[:9]) >= MAX_K:
        raise cursor.invalid()
    return int(position)


async def _page(
    service: Service, request: Request, what: tuple[str, SearchQuery, str], part: tuple[int, int]
) -> Response:
    """A page.

    Args:
        service: The service.
        request: The request.
        what: Name of the collection, query, name of the method.
        part: Position of the first image in the order of similarity, and largest number of images.
    """
    name, query, method = what
    start, limit = part

    def work() -> JSONResponse:
        collection = service.collections.get(name)
        # Always as deep, so that each page is cut from the same list.
        result = collection.similar(query, method=method, k=MAX_K)
        hits = result.hits[start : start + limit]
        records = collection.records([hit.id for hit in hits])
        shown = image_answers(name, list(records.values()), places=service.settings.places)
        images = {image.id: image for image in shown}
        more = start + limit < len(result.hits)
        return respond(
            SimilarPage(
                images=tuple(SimilarImage(images[hit.id], hit.score) for hit in hits if hit.id in images),
                method=result.method,
                searched=result.searched,
                next_cursor=cursor.make(str(start + limit)) if more else None,
            )
        )

    if is_head(request):
        await service.block(lambda: service.collections.get(name))
        return headers_only("application/json")
    with service.admission.admit():
        return await service.admission.run(work)
