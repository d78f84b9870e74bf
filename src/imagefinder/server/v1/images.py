"""``/v1/collections/{collection}/images``: add, list and delete images; their thumbnails and originals."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from imagefinder.collection import Collection
from imagefinder.core.answers import Image
from imagefinder.core.errors import MetadataError, UnknownImageError
from imagefinder.core.jobs import Job
from imagefinder.core.metadata import MAX_ID_BYTES, check_metadata
from imagefinder.indexing.missing import gone_uris
from imagefinder.server import upload
from imagefinder.server.endpoints import FairRoute
from imagefinder.server.errors import Problem, problem_of, responses
from imagefinder.server.head import headers_only, is_head
from imagefinder.server.image_paths import ImageId, image_path
from imagefinder.server.json_text import parse_json
from imagefinder.server.request_context import link
from imagefinder.server.service import Service, ServiceDep
from imagefinder.server.upload import FIELD, FORM, JSON
from imagefinder.server.v1 import request_images, requests
from imagefinder.server.v1.answers import image_answer, respond
from imagefinder.server.v1.collections import Name
from imagefinder.server.v1.request_images import RequestImage

_BROWSER_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "BMP": "image/bmp",
}
"""Format -> media type, for the formats that browsers can display."""

_CHUNK_BYTES = 1 << 18

_SAFE = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}

_ONE = ("unknown_collection", "unknown_image", "invalid_parameter", "store_error", "internal_error")
IMAGE_CODES = (
    *("missing_image", "not_a_file", "several_images", "malformed_form", "malformed_json", "upload_timeout"),
    *("image_too_large", "request_too_large", "unsupported_media_type", "not_an_image", "empty_image"),
    *("damaged_image", "invalid_image", "invalid_input", "invalid_parameter", "url_queries_off"),
    *("address_not_allowed", "fetch_failed", "fetch_failed_for_now", "busy", "store_error", "internal_error"),
)
"""Problem codes of requests with an image."""

METHOD_CODES = ("method_not_indexed", "fingerprint_mismatch", "model_missing", "model_error", "invalid_setting")
"""Problem codes of requests that use a method."""

NOT_MODIFIED = {"description": "Not modified: the client's copy (`If-None-Match`) is current."}


def binary(description: str, *media_types: str) -> dict[str, Any]:
    """An OpenAPI response object with a binary body."""
    schema = {"type": "string", "format": "binary"}
    return {"description": description, "content": {media_type: {"schema": schema} for media_type in media_types}}


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
                        FIELD: {"type": "string", "format": "binary", "description": "The encoded image."},
                        "metadata": {
                            "type": "string",
                            "contentMediaType": JSON,
                            "description": "JSON object to store with the image.",
                        },
                    },
                }
            },
            JSON: {
                "schema": {"$ref": "#/components/schemas/PutImageRequest"},
                "example": {"url": "https://example.org/cat.jpg", "metadata": {"shop": "north", "price": 12.5}},
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


router = APIRouter(tags=["images"], prefix="/v1/collections/{collection}", route_class=FairRoute)


@router.get(
    "/image",
    operation_id="get_image_by_id",
    summary="Get an image",
    description="Returns the metadata of the image, and the URLs of its data: `thumbnail`, `preview`, `content`.",
    response_model=Image,
    response_description="The image.",
    responses=responses(_ONE),
)
def get_image(
    service: ServiceDep,
    collection: Name,
    image_id: ImageId,
    labels: Annotated[
        bool, Query(description="Add what the image may show, by the classifier of a network: suggestions.")
    ] = False,
) -> JSONResponse:
    opened = service.collections.get(collection)
    image = _image(collection, opened, image_id)
    if not labels:
        return respond(image)
    return respond(replace(image, labels=opened.labels(image_id)))


@router.put(
    "/image",
    operation_id="put_image_by_id",
    summary="Add or replace an image",
    description="Send the image as a form file, as the request body, or as a URL or base64 in JSON. With "
    "`wait=true` (default) the image is durable and searchable when the response arrives. With `wait=false` the "
    "image is stored on disk and a job adds it.",
    response_model=Image,
    response_description="The image was replaced.",
    responses={
        201: {"model": Image, "description": "The image was added; `Location` is its URL."},
        202: {"model": Job, "description": "A job will add the image; `Location` is the URL of the job."},
        **responses(("unknown_collection", "not_ready", *IMAGE_CODES, *METHOD_CODES)),
    },
    openapi_extra=_PUT_BODY,
)
async def put_image(
    *,
    service: ServiceDep,
    request: Request,
    collection: Name,
    image_id: ImageId,
    wait: Annotated[bool, Query(description="Wait until the image is searchable.")] = True,
    metadata: Annotated[
        str, Query(max_length=4000, description="Metadata as a JSON object, if the body is the image.")
    ] = "",
) -> JSONResponse:
    _check_new(image_id)
    with service.admission.admit() as reserve:
        image, user_data = await _read_put(service, request, metadata, reserve)
        if not wait:
            start = partial(service.jobs.start_put, collection, image_id, image.data, user_data, uri=image.uri)
            job = await service.admission.run(start)
            return respond(job, 202, {"Location": link(f"/v1/jobs/{job.id}")})
        return await service.admission.run(lambda: _put(service, collection, image_id, image, user_data))


@router.delete(
    "/image",
    operation_id="delete_image_by_id",
    summary="Delete an image from the collection",
    description="Deletes the image's features, thumbnail and metadata. Its original file is not deleted, and jobs "
    "do not add it again: `GET .../removals` lists such images; `DELETE .../removals` and `PUT` of the image take "
    "a removal back.",
    status_code=204,
    response_description="The image was deleted.",
    response_class=Response,
    responses=responses(_ONE),
)
def delete_image(
    service: ServiceDep,
    collection: Name,
    image_id: ImageId,
    remember: Annotated[
        bool, Query(description="Record the removal. If false, a job that finds the file adds the image again.")
    ] = True,
) -> Response:
    opened = service.collections.get(collection)
    records = opened.records([opened.resolve(image_id)])
    if not opened.remove(image_id, remember=remember):
        raise UnknownImageError(image_id)
    service.discard_previews(records.values())
    return Response(status_code=204)


@router.get(
    "/thumbnail",
    operation_id="get_thumbnail_by_id",
    summary="Get the thumbnail of an image",
    description="A JPEG of at most 256 x 256 pixels (elongated images: 8192 x 128).",
    response_class=Response,
    responses={
        200: binary("The thumbnail.", "image/jpeg"),
        304: NOT_MODIFIED,
        **responses((*_ONE, "no_thumbnail")),
    },
)
def get_thumbnail(service: ServiceDep, request: Request, collection: Name, image_id: ImageId) -> Response:
    data = service.collections.get(collection).thumbnail(image_id)
    if not data:
        raise no_thumbnail(image_id)
    return cached(request, data, "image/jpeg")


@router.get(
    "/content",
    operation_id="get_content_by_id",
    summary="Get the original image file",
    description="Available as long as the file exists, unchanged, at its original path on the server.",
    response_class=StreamingResponse,
    responses={
        200: binary("The original file.", *sorted(set(_BROWSER_TYPES.values())), "application/octet-stream"),
        304: NOT_MODIFIED,
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
            f"the original file of {image_id[:200]!a} is missing or has changed",
            hint="the thumbnail is stored in the collection and still available",
        )
    media_type = _BROWSER_TYPES.get(record.format)
    headers = {
        **_SAFE,
        "Cache-Control": "private, no-cache",
        "ETag": f'"{record.sha256}"',
        "Content-Length": str(record.size_bytes),
        "Content-Disposition": "inline" if media_type else "attachment",
    }
    if is_cached(request, headers["ETag"]):
        file.close()
        return Response(status_code=304, headers={key: headers[key] for key in ("Cache-Control", "ETag")})
    media_type = media_type or "application/octet-stream"
    if is_head(request):
        file.close()
        return headers_only(media_type, headers)
    return StreamingResponse(_chunks(file, record.sha256), headers=headers, media_type=media_type)


def no_thumbnail(image_id: str) -> Problem:
    """The problem of an image without a thumbnail."""
    return Problem("no_thumbnail", f"the image {image_id[:200]!a} has no thumbnail", hint="add the image again")


def cached(request: Request, data: bytes, media_type: str, more: Mapping[str, str] | None = None) -> Response:
    """A response with this data, or 304 if the client already has it; ``more`` are further headers."""
    headers = {
        **(more or {}),
        "ETag": f'"{hashlib.sha256(data).hexdigest()[:32]}"',
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    if is_cached(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type=media_type)


def is_cached(request: Request, tag: str) -> bool:
    """Whether the client already has what this entity tag identifies."""
    cached = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
    return tag in cached or "*" in cached


def _chunks(file: BinaryIO, sha256: str) -> Iterator[bytes]:
    """The file in chunks. The last chunk is sent only if the checksum matches: a changed file stays incomplete."""
    digest, last = hashlib.sha256(), b""
    with file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            if last:
                yield last
            last = chunk
    if digest.hexdigest() != sha256:
        raise OSError("the file changed while it was being sent")
    yield last


def _image(name: str, collection: Collection, image_id: str) -> Image:
    record = collection.get(image_id)
    status = collection.status([record.id]).get(record.id)
    missing = bool(gone_uris([record.uri]))
    return image_answer(
        name, record, status.methods if status else (), missing=missing, places=collection.settings.places
    )


def _check_new(image_id: str) -> None:
    """Refuse new ids that are hard to handle; existing images with such ids can still be read."""
    if any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in image_id):
        reason = "it contains control characters"
    elif not image_id:
        reason = "it is empty"
    elif (length := len(image_id.encode())) > MAX_ID_BYTES:
        reason = f"it has {length:,} bytes; the limit is {MAX_ID_BYTES:,}"
    else:
        return
    raise Problem("invalid_parameter", f"the id is invalid: {reason}", hint="choose another id", field="id")


async def _read_put(
    service: Service, request: Request, metadata: str, reserve: upload.ReserveBytes
) -> tuple[RequestImage, Mapping[str, Any]]:
    """The image and the metadata in a PUT request."""
    kind = upload.content_type(request)
    if kind == JSON:
        read = partial(requests.read, requests.PutImageRequest)
        form = await request_images.read_json(service, request, reserve, read)
        parsed = _metadata(form.metadata)
        return await request_images.load(service, form, reserve), parsed
    if kind == FORM:
        parts = await request_images.read_form(service, request, reserve, {FIELD: 1})
        values = request_images.parse_text_fields(parts.texts, {"metadata": dict})
        return RequestImage(parts.files[0][1]), _metadata(values.get("metadata", {}))
    if kind.startswith("image/") or kind == "application/octet-stream":
        parsed = _metadata(parse_json(metadata, "metadata") if metadata else {})
        data = await upload.read_raw(request, max_bytes=service.settings.max_image_bytes, reserve=reserve)
        return RequestImage(data), parsed
    raise upload.wrong_type(request, FORM, JSON, "image/*")


def _metadata(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Problem("invalid_parameter", "metadata: must be a JSON object", field="metadata")
    try:
        check_metadata(value)
    except MetadataError as error:
        problem = problem_of(error)
        problem.code = "invalid_parameter"
        raise problem from error
    return value


def _put(
    service: Service, name: str, image_id: str, image: RequestImage, metadata: Mapping[str, Any]
) -> JSONResponse:
    collection = service.collections.get(name)
    new = image_id not in collection.status([image_id])
    collection.put(image_id, image.data, metadata=metadata, uri=image.uri)
    headers = {"Location": image_path(f"/v1/collections/{name}", "image", image_id)} if new else None
    return respond(_image(name, collection, image_id), 201 if new else 200, headers)
