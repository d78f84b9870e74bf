"""``/v1/collections``: the collections of the server."""

from __future__ import annotations

import logging
from typing import Annotated, get_args

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse, Response

from imagefinder.core.answers import CollectionInfo, CollectionList, FailurePage
from imagefinder.core.errors import ImagefinderError
from imagefinder.core.jobs import JobKind
from imagefinder.server.collections import DEFAULT, NAME
from imagefinder.server.errors import Problem, responses
from imagefinder.server.service import Service, ServiceDep
from imagefinder.server.v1 import cursor
from imagefinder.server.v1.answers import collection_answer, failed_image, respond

log = logging.getLogger(__name__)

Name = Annotated[str, Path(description="name of a collection", examples=[DEFAULT])]

router = APIRouter(tags=["collections"], prefix="/v1/collections")


@router.get(
    "",
    operation_id="list_collections",
    summary="All collections",
    response_model=CollectionList,
    responses=responses(["store_error", "internal_error"]),
)
def list_collections(service: ServiceDep) -> JSONResponse:
    found = []
    for name in service.collections.names():
        try:
            found.append(collection_answer(name, service.collections.get(name)))
        except (Problem, ImagefinderError):
            # One that is damaged, or deleted meanwhile, must not hide the others; its own path reports why.
            if name == DEFAULT:
                raise
            log.warning("the collection %s is left out of the list", name, exc_info=True)
    return respond(CollectionList(tuple(found)))


@router.get(
    "/{collection}",
    operation_id="get_collection",
    summary="One collection",
    response_model=CollectionInfo,
    responses=responses(["unknown_collection", "invalid_parameter", "store_error", "internal_error"]),
)
def get_collection(service: ServiceDep, collection: Name) -> JSONResponse:
    return respond(collection_answer(collection, service.collections.get(collection)))


@router.put(
    "/{collection}",
    operation_id="put_collection",
    summary="Create a collection, or leave it as it is if it exists",
    response_model=CollectionInfo,
    responses={
        201: {"model": CollectionInfo, "description": "It was created"},
        **responses(["too_many_collections", "invalid_parameter", "store_error", "internal_error"]),
    },
)
def put_collection(
    service: ServiceDep,
    collection: Annotated[str, Path(pattern=f"^{NAME}$", description="name of a collection", examples=["shop"])],
) -> JSONResponse:
    if collection == DEFAULT:
        made, new = service.collections.get(DEFAULT), False
    else:
        made, new = service.collections.create(collection)
    headers = {"Location": f"/v1/collections/{collection}"} if new else None
    return respond(collection_answer(collection, made), 201 if new else 200, headers)


@router.delete(
    "/{collection}",
    operation_id="delete_collection",
    summary="Delete a collection with all its images, for good",
    status_code=204,
    response_class=Response,
    responses=responses(
        [
            *("confirmation_needed", "unknown_collection", "collection_protected", "collection_in_use"),
            *("invalid_parameter", "store_error", "internal_error"),
        ]
    ),
)
def delete_collection(
    service: ServiceDep,
    collection: Name,
    confirm: Annotated[str, Query(description="the name again, so that nothing is deleted by accident")] = "",
) -> Response:
    if collection != DEFAULT:
        service.collections.get(collection)
        if confirm != collection:
            raise Problem(
                "confirmation_needed",
                "a collection is removed for good, so its name is asked for again",
                hint=f"?confirm={collection}",
                field="confirm",
            )
        _refuse_while_in_use(service, collection)
    service.collections.delete(collection)
    return Response(status_code=204)


@router.get(
    "/{collection}/failures",
    operation_id="list_failures",
    summary="The images that could not be indexed, and why",
    response_model=FailurePage,
    responses=responses(["unknown_collection", "invalid_parameter", "store_error", "internal_error"]),
)
def list_failures(
    service: ServiceDep,
    collection: Name,
    limit: cursor.Limit = cursor.DEFAULT_LIMIT,
    after: cursor.Cursor = "",
) -> JSONResponse:
    found = service.collections.get(collection).failures(after=cursor.read(after), limit=limit + 1)
    page, more = found[:limit], len(found) > limit
    return respond(FailurePage(tuple(map(failed_image, page)), cursor.make(page[-1].id) if more else None))


def _refuse_while_in_use(service: Service, collection: str) -> None:
    for kind in get_args(JobKind):
        job = service.jobs.find(kind, collection)
        if job is not None:
            raise Problem(
                "collection_in_use",
                f"the job {job.id} works on this collection",
                hint="cancel it, or wait for its end",
                headers={"Retry-After": "5"},
            )
