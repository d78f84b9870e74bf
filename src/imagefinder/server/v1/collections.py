"""``/v1/collections``: the collections of the server."""

from __future__ import annotations

import logging
import os
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse, Response

from imagefinder.collection import Collection
from imagefinder.core.errors import ImagefinderError
from imagefinder.core.records import Failure
from imagefinder.indexing.source_item import local_path, readable
from imagefinder.server.collections import DEFAULT, NAME
from imagefinder.server.errors import Problem, responses
from imagefinder.server.v1 import cursor, schemas
from imagefinder.server.v1.service import JOB_KINDS, Service, iso

log = logging.getLogger(__name__)

Name = Annotated[str, Path(description="name of a collection", examples=[DEFAULT])]


def router(service: Service) -> APIRouter:
    """The endpoints for whole collections."""
    routes = APIRouter(tags=["collections"], prefix="/v1/collections")

    @routes.get(
        "",
        operation_id="list_collections",
        summary="All collections",
        response_model=schemas.CollectionList,
        responses=responses(["store_error", "internal_error"]),
    )
    def collections() -> JSONResponse:
        found = []
        for name in service.collections.names():
            try:
                found.append(_told(name, service.collections.get(name)))
            except (Problem, ImagefinderError):
                # One that is damaged, or gone meanwhile, must not hide the others; asked for itself, it tells why.
                if name == DEFAULT:
                    raise
                log.warning("the collection %s is left out of the list", name, exc_info=True)
        return JSONResponse({"collections": found})

    @routes.get(
        "/{collection}",
        operation_id="get_collection",
        summary="One collection",
        response_model=schemas.CollectionInfo,
        responses=responses(["unknown_collection", "invalid_parameter", "store_error", "internal_error"]),
    )
    def collection(collection: Name) -> JSONResponse:
        return JSONResponse(_told(collection, service.collections.get(collection)))

    @routes.put(
        "/{collection}",
        operation_id="put_collection",
        summary="Make a collection, or leave it as it is if it is there",
        response_model=schemas.CollectionInfo,
        responses={
            201: {"model": schemas.CollectionInfo, "description": "It was made"},
            **responses(["too_many_collections", "invalid_parameter", "store_error", "internal_error"]),
        },
    )
    def create(
        collection: Annotated[
            str, Path(pattern=f"^{NAME}$", description="name of a collection", examples=["shop"])
        ],
    ) -> JSONResponse:
        if collection == DEFAULT:
            made, new = service.collections.get(DEFAULT), False
        else:
            made, new = service.collections.create(collection)
        headers = {"Location": f"/v1/collections/{collection}"} if new else None
        return JSONResponse(_told(collection, made), 201 if new else 200, headers)

    @routes.delete(
        "/{collection}",
        operation_id="delete_collection",
        summary="Remove a collection with all its images, for good",
        status_code=204,
        response_class=Response,
        responses=responses(
            [
                *("confirmation_needed", "unknown_collection", "collection_protected", "collection_in_use"),
                *("invalid_parameter", "store_error", "internal_error"),
            ]
        ),
    )
    def delete(
        collection: Name,
        confirm: Annotated[str, Query(description="the name again, so that nothing is removed by accident")] = "",
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

    @routes.get(
        "/{collection}/failures",
        operation_id="list_failures",
        summary="The pictures that could not be indexed, and why",
        response_model=schemas.Failures,
        responses=responses(["unknown_collection", "invalid_parameter", "store_error", "internal_error"]),
    )
    def failures(
        collection: Name, limit: cursor.Limit = cursor.DEFAULT_LIMIT, after: cursor.Cursor = ""
    ) -> JSONResponse:
        found = service.collections.get(collection).failures(after=cursor.read(after), limit=limit + 1)
        page, more = found[:limit], len(found) > limit
        return JSONResponse(
            {
                "failures": [_failure(one) for one in page],
                "next_cursor": cursor.make(page[-1].id) if more else None,
            }
        )

    return routes


def _told(name: str, collection: Collection) -> dict[str, Any]:
    info = collection.info()
    return {
        "name": name,
        "images": info.images,
        "failures": info.failures,
        "bytes": info.bytes_on_disk,
        "methods": [
            {"name": method, "images": held.images, "bytes": held.bytes, "fingerprint": held.fingerprint.digest}
            for method, held in info.methods.items()
        ],
    }


def _failure(failure: Failure) -> dict[str, Any]:
    web = failure.uri.startswith(("http://", "https://"))
    return {
        "id": failure.id,
        "uri": failure.uri if web else "",
        "code": failure.code,
        "message": _without_folders(failure),
        "attempts": failure.attempts,
        "at": iso(failure.at),
    }


def _without_folders(failure: Failure) -> str:
    """The message; where files lie on the server is nobody's business."""
    text = failure.message
    for uri in (failure.uri, failure.source):
        path = local_path(uri)
        if path is not None:
            text = text.replace(readable(os.path.dirname(path)).rstrip("/") + "/", "")  # noqa: PTH120 - any bytes
    return text


def _refuse_while_in_use(service: Service, collection: str) -> None:
    for kind in JOB_KINDS:
        job = service.jobs.find(kind, collection) if service.jobs else None
        if job is not None:
            raise Problem(
                "collection_in_use",
                f"the job {job.id} works on this collection",
                hint="cancel it, or wait for its end",
                headers={"Retry-After": "5"},
            )
