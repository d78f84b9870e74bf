"""``/v1/collections``: list, create and delete collections."""

from __future__ import annotations

import logging
import re
from typing import Annotated, get_args

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse, Response

from imagefinder.core.answers import CollectionInfo, CollectionList, FailurePage
from imagefinder.core.collection_names import COLLECTION_NAME, DEFAULT, NAME_RULE, suggested_name
from imagefinder.core.errors import CollectionClosedError, ImagefinderError
from imagefinder.core.jobs import JobKind
from imagefinder.server.endpoints import FairRoute
from imagefinder.server.errors import Problem, responses
from imagefinder.server.request_context import link
from imagefinder.server.service import Service, ServiceDep
from imagefinder.server.v1 import cursor
from imagefinder.server.v1.answers import collection_answer, failed_image, respond

log = logging.getLogger(__name__)

Name = Annotated[str, Path(description="Name of the collection.", examples=[DEFAULT])]

router = APIRouter(tags=["collections"], prefix="/v1/collections", route_class=FairRoute)


@router.get(
    "",
    operation_id="list_collections",
    summary="List all collections",
    response_model=CollectionList,
    response_description="The collections.",
    responses=responses(["store_error", "internal_error"]),
)
def list_collections(service: ServiceDep) -> JSONResponse:
    found = []
    for name in service.collections.names():
        try:
            found.append(collection_answer(name, service.collections.get(name)))
        except (Problem, CollectionClosedError):
            continue  # just deleted
        except ImagefinderError:
            # A damaged collection must not hide the others; its own URL reports the error.
            if name == DEFAULT:
                raise
            log.warning("the collection %s is unreadable and missing from the list", name, exc_info=True)
    return respond(CollectionList(tuple(found)))


@router.get(
    "/{collection}",
    operation_id="get_collection",
    summary="Get a collection",
    response_model=CollectionInfo,
    response_description="The collection.",
    responses=responses(["unknown_collection", "invalid_parameter", "store_error", "internal_error"]),
)
def get_collection(service: ServiceDep, collection: Name) -> JSONResponse:
    return respond(collection_answer(collection, service.collections.get(collection)))


@router.put(
    "/{collection}",
    operation_id="put_collection",
    summary="Create a collection",
    description="An existing collection is unchanged.",
    response_model=CollectionInfo,
    response_description="The collection existed before.",
    responses={
        201: {"model": CollectionInfo, "description": "The collection was created; `Location` is its URL."},
        **responses(["too_many_collections", "invalid_parameter", "store_error", "internal_error"]),
    },
)
def put_collection(
    service: ServiceDep,
    collection: Annotated[
        str,
        Path(
            description=f"Name of the collection: {NAME_RULE}.",
            examples=["shop"],
            json_schema_extra={"pattern": f"^{COLLECTION_NAME}$"},
        ),
    ],
) -> JSONResponse:
    if not re.fullmatch(COLLECTION_NAME, collection):
        suggestion = suggested_name(collection)
        raise Problem(
            "invalid_parameter",
            f"{collection[:100]!a} is not a valid name of a collection",
            hint=f"use {NAME_RULE}{f', such as {suggestion}' if suggestion else ''}",
            field="collection",
        )
    if collection == DEFAULT:
        opened, created = service.collections.get(DEFAULT), False
    else:
        opened, created = service.collections.create(collection)
    headers = {"Location": link(f"/v1/collections/{collection}")} if created else None
    return respond(collection_answer(collection, opened), 201 if created else 200, headers)


@router.delete(
    "/{collection}",
    operation_id="delete_collection",
    summary="Delete a collection",
    description="Deletes the collection with its images, features and metadata. This cannot be undone. Original "
    "image files outside the collection are not deleted.",
    status_code=204,
    response_description="The collection was deleted.",
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
    confirm: Annotated[str, Query(description="Repeat the name of the collection to confirm the deletion.")] = "",
) -> Response:
    if collection != DEFAULT:
        service.collections.get(collection)
        if confirm != collection:
            raise Problem(
                "confirmation_needed",
                "deleting a collection cannot be undone and must be confirmed",
                hint=f"repeat the name: ?confirm={collection}",
                field="confirm",
            )
        _refuse_while_in_use(service, collection)
    service.collections.delete(collection)
    return Response(status_code=204)


@router.get(
    "/{collection}/failures",
    operation_id="list_failures",
    summary="List the images that could not be added",
    description="Ordered by id; each with the error and the number of attempts.",
    response_model=FailurePage,
    response_description="A page of failures.",
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
                f"the job {job.id} is using this collection",
                hint="wait for the job to end, or cancel it",
                headers={"Retry-After": "5"},
            )
