"""``/v1/collections/{collection}/removals``: images that were removed and do not return with the next job."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from imagefinder.core.answers import RemovalPage, RemovedImage
from imagefinder.core.times import iso
from imagefinder.server.endpoints import FairRoute
from imagefinder.server.errors import Problem, responses
from imagefinder.server.service import ServiceDep
from imagefinder.server.v1 import cursor
from imagefinder.server.v1.answers import respond
from imagefinder.server.v1.collections import Name

router = APIRouter(tags=["images"], prefix="/v1/collections/{collection}", route_class=FairRoute)


@router.get(
    "/removals",
    operation_id="list_removals",
    summary="List the removed images",
    description="Images that were deleted from the collection while their file stays: jobs skip them. Ordered by "
    "id; a page can be a little longer than `limit`.",
    response_model=RemovalPage,
    response_description="A page of removed images.",
    responses=responses(["unknown_collection", "invalid_parameter", "store_error", "internal_error"]),
)
def list_removals(
    service: ServiceDep,
    collection: Name,
    limit: cursor.Limit = cursor.DEFAULT_LIMIT,
    after: cursor.Cursor = "",
) -> JSONResponse:
    found = service.collections.get(collection).removals(after=cursor.read(after), limit=limit)
    page = tuple(RemovedImage(removal.id, removal.sha256, iso(removal.at)) for removal in found)
    return respond(RemovalPage(page, cursor.make(found[-1].id) if len(found) >= limit else None))


@router.delete(
    "/removals",
    operation_id="forget_removal",
    summary="Take the removal of an image back",
    description="The next job that finds the file adds the image again.",
    status_code=204,
    response_description="The removal was forgotten.",
    response_class=Response,
    responses=responses(["unknown_collection", "unknown_image", "invalid_parameter", "store_error"]),
)
def forget_removal(
    service: ServiceDep,
    collection: Name,
    id: Annotated[  # noqa: A002 - the name of the query parameter
        str, Query(description="Id of the removed image.", examples=["2026/cat.jpg"])
    ],
) -> Response:
    if not service.collections.get(collection).forget_removals([id]):
        raise Problem(
            "unknown_image",
            f"no removal of an image with the id {id[:200]!a} is recorded",
            hint=f"GET /v1/collections/{collection}/removals lists the removed images",
            field="id",
        )
    return Response(status_code=204)
