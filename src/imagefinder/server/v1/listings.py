"""``/v1/collections/{collection}/images`` and ``/groups``: listings, and changes to many images at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response

from imagefinder.core import filters
from imagefinder.core.answers import ImagePage
from imagefinder.core.group_answers import ChangedImages, GroupPage, ImageGroup
from imagefinder.core.listing import GroupBy, ListPosition, Order, Selection, Sort
from imagefinder.server import exports, upload
from imagefinder.server.endpoints import FairRoute
from imagefinder.server.errors import responses
from imagefinder.server.json_text import parse_json
from imagefinder.server.service import Service, ServiceDep
from imagefinder.server.upload import JSON
from imagefinder.server.v1 import cursor, request_images, requests
from imagefinder.server.v1.answers import image_answers, respond
from imagefinder.server.v1.collections import Name

MAX_GROUPS = 10_000
MAX_OFFSET = 100_000_000

_CODES = ("unknown_collection", "malformed_json", "invalid_parameter", "invalid_filter", "store_error")
_BULK_CODES = (
    *("unknown_collection", "malformed_json", "invalid_parameter", "invalid_input", "request_too_large"),
    *("unsupported_media_type", "upload_timeout", "busy", "store_error", "internal_error"),
)


def _body(model: str, example: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI description of a JSON body."""
    schema = {"$ref": requests.REF.format(model=model)}
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema, "example": example}}}}


_Choices = Annotated[list[str], Query(max_length=100)]
_Label = Annotated[str, Query(max_length=1000)]

router = APIRouter(tags=["images"], prefix="/v1/collections/{collection}", route_class=FairRoute)


async def read_selection(  # wide: the parameters of a query
    *,
    service: ServiceDep,
    filter: Annotated[  # noqa: A002 - the name of the query parameter
        str,
        Query(
            max_length=4000,
            description="Metadata filter, as JSON; see the guide on filters.",
            examples=['{"shop": "north"}'],
        ),
    ] = "",
    contains: Annotated[
        str, Query(max_length=1000, description="Only images whose id or metadata contain this text.")
    ] = "",
    folder: Annotated[_Label, Query(description="Only images in this folder and its subfolders.")] = "",
    taken: Annotated[
        str,
        Query(
            pattern=r"^([0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?)?$",
            description="Only images taken in this year, month or day.",
            examples=["2026-05"],
        ),
    ] = "",
    format: Annotated[  # noqa: A002 - the name of the query parameter
        _Choices, Query(description="Only images of one of these formats; repeatable.", examples=[["JPEG"]])
    ] = [],  # noqa: B006 - FastAPI copies it
    camera: Annotated[_Choices, Query(description="Only images of one of these cameras; repeatable.")] = [],  # noqa: B006
    place: Annotated[_Choices, Query(description="Only images of one of these places; repeatable.")] = [],  # noqa: B006
    rating: Annotated[
        list[Annotated[int, Query(ge=-1, le=5)]],
        Query(max_length=7, description="Only images with one of these ratings; 0: without a rating; repeatable."),
    ] = [],  # noqa: B006
    tag: Annotated[_Choices, Query(description="Only images with this tag; repeatable: with all of them.")] = [],  # noqa: B006
    stack: Annotated[
        str, Query(pattern=r"^[0-9a-f]{0,64}$", description="Only versions of one picture: `stack` of an image.")
    ] = "",
    collapsed: Annotated[
        bool, Query(description="Of the versions of one picture, only the one with the smallest id.")
    ] = False,
) -> Selection:
    """The images that a request selects."""
    return Selection(
        folder=folder.rstrip("/"),
        taken=taken,
        formats=tuple(format),
        cameras=tuple(camera),
        places=tuple(place),
        ratings=tuple(rating),
        tags=tuple(tag),
        where=filters.parse(parse_json(filter, "filter"), places=service.settings.places) if filter else None,
        contains=contains,
        stack=stack,
        collapsed=collapsed,
    )


SelectionDep = Annotated[Selection, Depends(read_selection)]


@router.get(
    "/images",
    operation_id="list_images",
    summary="List the images of a collection",
    description="Sorted, page by page; optionally only some of them. `next_cursor` stays valid while images are "
    "added and removed. `offset` skips images, to begin anywhere in the list.",
    response_model=ImagePage,
    response_description="A page of images.",
    responses=responses([*_CODES, "internal_error"]),
)
def list_images(  # wide: the parameters of a query
    *,
    service: ServiceDep,
    collection: Name,
    selection: SelectionDep,
    limit: cursor.Limit = cursor.DEFAULT_LIMIT,
    after: cursor.Cursor = "",
    sort: Annotated[
        Sort,
        Query(
            description="Sort by id, time taken (else the time of the file, else that of adding), file name, size "
            "in bytes, time of adding, or folder."
        ),
    ] = "id",
    descending: Annotated[bool, Query(description="Reverse the order.")] = False,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET, description="Number of images to skip.")] = 0,
) -> JSONResponse:
    order = Order(sort, descending)
    opened = service.collections.get(collection)
    found = opened.listing(selection, order, after=_position(after, order), offset=offset, limit=limit + 1)
    page, more = found[:limit], len(found) > limit
    following = _cursor(order.position(page[-1])) if more else None
    images = image_answers(collection, page, opened, places=service.settings.places)
    return respond(ImagePage(images, following))


@router.get(
    "/groups",
    operation_id="list_groups",
    summary="Count images by a property",
    description="The groups of the selected images, ordered by value, with their sizes: by time taken, folder, "
    "format, camera, place, rating or tag.",
    response_model=GroupPage,
    response_description="A page of groups.",
    responses=responses([*_CODES, "internal_error"]),
)
def list_groups(
    *,
    service: ServiceDep,
    collection: Name,
    selection: SelectionDep,
    by: Annotated[GroupBy, Query(description="What images are grouped by.")],
    limit: Annotated[int, Query(ge=1, le=MAX_GROUPS, description="Largest number of groups.")] = MAX_GROUPS,
    after: cursor.Cursor = "",
) -> JSONResponse:
    start = _read_cursor(after, str) if after else None
    found = service.collections.get(collection).groups(by, selection, after=start, limit=limit + 1)
    page, more = found[:limit], len(found) > limit
    groups = tuple(ImageGroup(group.value, group.images) for group in page)
    return respond(GroupPage(groups, cursor.make(json.dumps(page[-1].value)) if more else None))


@router.post(
    "/removals",
    operation_id="remove_images",
    summary="Delete images from the collection",
    description="Deletes many images at once, as `DELETE .../image` deletes one: files stay, and jobs do not add "
    "them again unless the removals are taken back. Unknown ids are ignored.",
    response_model=ChangedImages,
    response_description="The number of images deleted.",
    responses=responses(_BULK_CODES),
    openapi_extra=_body("RemoveRequest", {"ids": ["2026/cat.jpg"]}),
)
async def remove_images(service: ServiceDep, request: Request, collection: Name) -> Response:
    def work(given: requests.RemoveRequest) -> Response:
        opened = service.collections.get(collection)
        records = opened.records([opened.resolve(image_id) for image_id in given.ids])
        removed = opened.remove(given.ids, remember=given.remember)
        service.discard_previews(records.values())
        return respond(ChangedImages(removed))

    return await _run(service, request, requests.RemoveRequest, work)


@router.post(
    "/tags",
    operation_id="tag_images",
    summary="Tag images",
    description="Adds tags to many images and removes tags from them: the list `tags` of their metadata. Unknown "
    "ids are ignored.",
    response_model=ChangedImages,
    response_description="The number of images whose tags changed.",
    responses=responses(_BULK_CODES),
    openapi_extra=_body("TagRequest", {"ids": ["2026/cat.jpg"], "add": ["cat"]}),
)
async def tag_images(service: ServiceDep, request: Request, collection: Name) -> Response:
    def work(given: requests.TagRequest) -> Response:
        tagged = service.collections.get(collection).tag(given.ids, add=given.add, remove=given.remove)
        return respond(ChangedImages(tagged))

    return await _run(service, request, requests.TagRequest, work)


@router.post(
    "/exports",
    operation_id="export_images",
    summary="Export a list of images",
    description="The records of many images as a file: CSV with a line for each image, or JSON. Unknown ids are "
    "left out.",
    response_class=Response,
    responses={
        200: {
            "model": ImagePage,
            "description": "The list.",
            "content": {"text/csv": {"schema": {"type": "string"}}},
        },
        **responses(_BULK_CODES),
    },
    openapi_extra=_body("ExportRequest", {"ids": ["2026/cat.jpg"], "format": "csv"}),
)
async def export_images(service: ServiceDep, request: Request, collection: Name) -> Response:
    def work(given: requests.ExportRequest) -> Response:
        records = service.collections.get(collection).records(given.ids)
        chosen = [records[one] for one in dict.fromkeys(given.ids) if one in records]
        images = image_answers(collection, chosen, places=service.settings.places)
        data, media_type = exports.written(images, given.format)
        headers = {
            "Content-Disposition": f'attachment; filename="images.{given.format}"',
            "X-Content-Type-Options": "nosniff",
        }
        return Response(data, media_type=media_type, headers=headers)

    return await _run(service, request, requests.ExportRequest, work)


_M = TypeVar("_M", bound=requests.RequestModel)
_T = TypeVar("_T")


async def _run(service: Service, request: Request, model: type[_M], work: Callable[[_M], Response]) -> Response:
    """The response that ``work`` makes of a request with a JSON body."""
    with service.admission.admit() as reserve:
        if upload.content_type(request) != JSON:
            raise upload.wrong_type(request, JSON)
        given = await request_images.read_json(service, request, reserve, partial(requests.read, model))
        return await service.admission.run(lambda: work(given))


def _cursor(position: ListPosition) -> str:
    return cursor.make(json.dumps([position.value, position.id]))


def _position(text: str, order: Order) -> ListPosition | None:
    """The position in a cursor of a list in this order.

    Raises:
        Problem: ``invalid_parameter``.
    """
    if not text:
        return None
    match _read_cursor(text, list):
        case [value, str(image_id)] if _is_value(value, order):
            return ListPosition(value, image_id)
    raise cursor.invalid()


def _is_value(value: object, order: Order) -> bool:
    if order.sort in ("size", "added"):
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53
    return isinstance(value, str)


def _read_cursor(text: str, kind: type[_T]) -> _T:
    try:
        found = json.loads(cursor.read(text))
    except ValueError as error:
        raise cursor.invalid() from error
    if not isinstance(found, kind):
        raise cursor.invalid()
    return found
