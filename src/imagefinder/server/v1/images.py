"""``/v1/collections/{collection}/images``: put, look at and remove images; their thumbnails and originals."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated, Any, BinaryIO
from urllib.parse import unquote_to_bytes

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from imagefinder.collection import Collection
from imagefinder.core.answers import Image, ImagePage
from imagefinder.core.errors import UnknownImageError
from imagefinder.core.filters import is_deeper
from imagefinder.core.jobs import Job
from imagefinder.server import upload
from imagefinder.server.errors import Problem, responses
from imagefinder.server.service import Service, ServiceDep
from imagefinder.server.upload import FIELD, FORM, JSON
from imagefinder.server.v1 import cursor, pictures, requests
from imagefinder.server.v1.answers import image_answer, quoted, respond
from imagefinder.server.v1.collections import Name
from imagefinder.server.v1.pictures import Given

ImageId = Annotated[
    str,
    Path(description="id of an image; slashes are part of it", examples=["2026/cat.jpg"]),
]

_SHOWN = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "BMP": "image/bmp",
}
"""Formats that browsers show, as what they are sent."""

MAX_LEVELS = 64
"""Lists and objects within metadata that are put here; every program can read so many."""

_PIECE = 1 << 18

_SAFE = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}

_ONE = ("unknown_collection", "unknown_image", "invalid_parameter", "store_error", "internal_error")
PICTURE_CODES = (
    *("missing_image", "not_a_file", "several_images", "malformed_form", "malformed_json", "upload_timeout"),
    *("image_too_large", "request_too_large", "unsupported_media_type", "not_an_image", "empty_image"),
    *("damaged_image", "invalid_image", "invalid_input", "invalid_parameter", "url_queries_off"),
    *("address_not_allowed", "fetch_failed", "fetch_failed_for_now", "busy", "store_error", "internal_error"),
)
"""What may be wrong with a picture that is handed in."""

METHOD_CODES = ("method_not_indexed", "fingerprint_mismatch", "model_missing", "model_error", "invalid_setting")

_PUT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "additionalProperties": False,
                    "properties": {
                        FIELD: {"type": "string", "format": "binary", "description": "the picture"},
                        "metadata": {
                            "type": "string",
                            "contentMediaType": JSON,
                            "description": "your own JSON object, kept with the image",
                        },
                    },
                }
            },
            JSON: {
                "schema": {"$ref": "#/components/schemas/PutForm"},
                "example": {"url": "https://example.org/cat.jpg", "metadata": {"shop": "north", "price": 12.5}},
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


router = APIRouter(tags=["images"], prefix="/v1/collections/{collection}")


@router.get(
    "/images",
    operation_id="list_images",
    summary="The images of a collection, page by page, ordered by id",
    response_model=ImagePage,
    responses=responses(
        [
            *("unknown_collection", "malformed_json", "invalid_parameter", "invalid_filter"),
            *("store_error", "internal_error"),
        ]
    ),
)
def list_images(
    *,
    service: ServiceDep,
    collection: Name,
    limit: cursor.Limit = cursor.DEFAULT_LIMIT,
    after: cursor.Cursor = "",
    filter: Annotated[  # noqa: A002 - the name in the address
        str,
        Query(
            max_length=4000,
            description="JSON: only images whose metadata match; see the guide on filters",
            examples=['{"shop": "north"}'],
        ),
    ] = "",
    contains: Annotated[
        str, Query(max_length=1000, description="only images with this text in id or metadata")
    ] = "",
) -> JSONResponse:
    found = service.collections.get(collection).images(
        after=cursor.read(after),
        limit=limit + 1,
        where=upload.parse_json(filter, "filter") if filter else None,
        contains=contains,
    )
    page, more = found[:limit], len(found) > limit
    images = tuple(image_answer(collection, record) for record in page)
    return respond(ImagePage(images, cursor.make(page[-1].id) if more else None))


@router.get(
    "/images/{image_id:path}",
    operation_id="get_image",
    summary="One image",
    response_model=Image,
    responses=responses(_ONE),
)
def get_image(service: ServiceDep, collection: Name, image_id: ImageId) -> JSONResponse:
    return respond(_image(collection, service.collections.get(collection), image_id))


@router.put(
    "/images/{image_id:path}",
    operation_id="put_image",
    summary="Add an image under an id, or replace the one of that id",
    description="The image comes as a form, as the body itself, or in JSON. With `wait=true` it is durable and "
    "searchable when the response arrives; with `wait=false` a job indexes it, and the image is on disk.",
    response_model=Image,
    response_description="It was replaced",
    responses={
        201: {"model": Image, "description": "It is new; Location leads to it"},
        202: {"model": Job, "description": "A job will index it; Location leads to the job"},
        **responses(("unknown_collection", "not_ready", *PICTURE_CODES, *METHOD_CODES)),
    },
    openapi_extra=_PUT_BODY,
)
async def put_image(
    *,
    service: ServiceDep,
    request: Request,
    collection: Name,
    image_id: ImageId,
    wait: Annotated[bool, Query(description="whether to respond only when it is searchable")] = True,
    metadata: Annotated[
        str, Query(max_length=4000, description="JSON object, where the body is the image itself")
    ] = "",
) -> JSONResponse:
    _check_id(request, image_id)
    with service.admission.admit() as hold:
        given, kept = await _given(service, request, metadata, hold)
        if not wait:
            start = partial(service.jobs.start_put, collection, image_id, given.data, kept, uri=given.uri)
            job = await service.admission.run(start)
            return respond(job, 202, {"Location": f"/v1/jobs/{job.id}"})
        return await service.admission.run(lambda: _put(service, collection, image_id, given, kept))


@router.delete(
    "/images/{image_id:path}",
    operation_id="delete_image",
    summary="Remove an image",
    status_code=204,
    response_class=Response,
    responses=responses(_ONE),
)
def delete_image(service: ServiceDep, collection: Name, image_id: ImageId) -> Response:
    if not service.collections.get(collection).remove(image_id):
        raise UnknownImageError(image_id)
    return Response(status_code=204)


@router.get(
    "/thumbnails/{image_id:path}",
    operation_id="get_thumbnail",
    summary="A JPEG of at most 256 pixels a side",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
        304: {"description": "It is the one of If-None-Match"},
        **responses((*_ONE, "no_thumbnail")),
    },
)
def get_thumbnail(service: ServiceDep, request: Request, collection: Name, image_id: ImageId) -> Response:
    data = service.collections.get(collection).thumbnail(image_id)
    if not data:
        raise Problem("no_thumbnail", f"the image {image_id[:200]!a} has no thumbnail", hint="add it again")
    return cached(request, data, "image/jpeg")


@router.get(
    "/contents/{image_id:path}",
    operation_id="get_content",
    summary="The original image, while its file exists, unchanged",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {
                name: {"schema": {"type": "string", "format": "binary"}}
                for name in (*sorted(set(_SHOWN.values())), "application/octet-stream")
            }
        },
        304: {"description": "It is the one of If-None-Match"},
        **responses((*_ONE, "content_gone")),
    },
)
def get_content(service: ServiceDep, request: Request, collection: Name, image_id: ImageId) -> Response:
    opened = service.collections.get(collection)
    record = opened.get(image_id)
    file = opened.original(image_id)
    if file is None:
        raise Problem(
            "content_gone",
            f"the original of {image_id[:200]!a} is not there, or no longer the same",
            hint="the thumbnail is kept with the collection",
        )
    kind = _SHOWN.get(record.format)
    headers = {
        **_SAFE,
        "Cache-Control": "private, no-cache",
        "ETag": f'"{record.sha256}"',
        "Content-Length": str(record.size_bytes),
        "Content-Disposition": "inline" if kind else "attachment",
    }
    if _is_known(request, headers["ETag"]):
        file.close()
        return Response(status_code=304, headers={key: headers[key] for key in ("Cache-Control", "ETag")})
    return StreamingResponse(
        _pieces(file, record.sha256), headers=headers, media_type=kind or "application/octet-stream"
    )


def cached(request: Request, data: bytes, media_type: str) -> Response:
    """A picture, or word that the client has it."""
    headers = {
        "ETag": f'"{hashlib.sha256(data).hexdigest()[:32]}"',
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    if _is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type=media_type)


def _is_known(request: Request, tag: str) -> bool:
    known = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
    return tag in known or "*" in known


def _pieces(file: BinaryIO, sha256: str) -> Iterator[bytes]:
    """The file, whose last piece is only sent if all of it is still what it was."""
    digest, last = hashlib.sha256(), b""
    with file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            if last:
                yield last
            last = piece
    if digest.hexdigest() != sha256:
        raise OSError("the file changed while it was sent")
    yield last


def _image(name: str, collection: Collection, image_id: str) -> Image:
    record = collection.get(image_id)
    status = collection.status([image_id]).get(image_id)
    return image_answer(name, record, status.methods if status else ())


def _check_id(request: Request, image_id: str) -> None:
    """Refuse ids that are trouble for everybody; those that are there already can still be asked for."""
    try:
        unquote_to_bytes(request.scope.get("raw_path") or b"").decode()
        sound = True
    except UnicodeDecodeError:
        sound = False
    if not sound or any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in image_id):
        what = "it has control characters" if sound else "it is no UTF-8"
    elif not image_id:
        what = "it is empty"
    elif len(image_id) > requests.MAX_ID:
        what = f"it has {len(image_id)} characters; {requests.MAX_ID} are accepted"
    else:
        return
    raise Problem("invalid_parameter", f"the id cannot be used: {what}", hint="choose another", field="id")


async def _given(
    service: Service, request: Request, metadata: str, hold: upload.Hold
) -> tuple[Given, Mapping[str, Any]]:
    """The picture of a request, and its metadata."""
    kind = upload.content_type(request)
    if kind == JSON:
        form = requests.read(requests.PutForm, await pictures.read_json(service, request, hold))
        kept = _metadata(form.metadata)
        return await pictures.given(service, form, hold), kept
    if kind == FORM:
        parts = await pictures.read_form(service, request, hold, {FIELD: 1})
        values = pictures.from_texts(parts.texts, {"metadata": dict})
        return Given(parts.files[0][1]), _metadata(values.get("metadata", {}))
    if kind.startswith("image/") or kind == "application/octet-stream":
        parsed = _metadata(upload.parse_json(metadata, "metadata") if metadata else {})
        data = await upload.read_raw(request, max_bytes=service.settings.max_image_bytes, hold=hold)
        return Given(data), parsed
    raise upload.wrong_type(request, FORM, JSON, "a picture")


def _metadata(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Problem("invalid_parameter", "metadata: must be a JSON object", field="metadata")
    if is_deeper(value, MAX_LEVELS):
        raise Problem(
            "invalid_parameter",
            f"metadata: at most {MAX_LEVELS} levels are kept",
            field="metadata",
            limit=MAX_LEVELS,
        )
    return value


def _put(service: Service, name: str, image_id: str, given: Given, metadata: Mapping[str, Any]) -> JSONResponse:
    collection = service.collections.get(name)
    new = image_id not in collection.status([image_id])
    collection.put(image_id, given.data, metadata=metadata, uri=given.uri)
    headers = {"Location": f"/v1/collections/{name}/images/{quoted(image_id)}"} if new else None
    return respond(_image(name, collection, image_id), 201 if new else 200, headers)
