"""``POST /v1/compare``: compare two images; nothing is stored."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from imagefinder.core.collection_names import DEFAULT
from imagefinder.core.features import RgbImage
from imagefinder.core.results import LOOKS_THE_SAME, Comparison
from imagefinder.server import upload
from imagefinder.server.errors import responses
from imagefinder.server.service import Service, ServiceDep
from imagefinder.server.upload import FORM, JSON, ReserveBytes
from imagefinder.server.v1 import request_images, requests
from imagefinder.server.v1.answers import respond
from imagefinder.server.v1.images import IMAGE_CODES, METHOD_CODES
from imagefinder.server.v1.request_images import RequestImage

_BINARY = {"type": "string", "format": "binary", "description": "An encoded image."}

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {"$ref": "#/components/schemas/CompareRequest"},
                "example": {
                    "a": {"url": "https://example.org/photo.jpg"},
                    "b": {"collection": "default", "id": "cat.jpg"},
                    "method": "sift",
                },
            },
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["a", "b"],
                    "additionalProperties": False,
                    "properties": {
                        "a": _BINARY,
                        "b": _BINARY,
                        "method": {
                            "type": "string",
                            "minLength": 1,
                            "maxLength": 100,
                            "default": "sift",
                            "description": "Name of the method.",
                        },
                    },
                }
            },
        },
    }
}


router = APIRouter(tags=["search"])


@router.post(
    "/v1/compare",
    operation_id="compare",
    summary="Compare two images",
    description="The images can be uploaded, downloaded from a URL or taken from a collection. Nothing is stored.",
    response_model=Comparison,
    response_description="The comparison.",
    responses=responses(
        ("unknown_collection", "unknown_image", "unknown_method", "not_ready", *IMAGE_CODES, *METHOD_CODES)
    ),
    openapi_extra=_BODY,
)
async def compare(service: ServiceDep, request: Request) -> JSONResponse:
    with service.admission.admit() as reserve:
        sides, method = await _read(service, request, reserve)

        def work() -> Comparison:
            default = service.collections.default
            default.method(method)  # raises for an unknown method before an image is read
            a, b = (_side(service, side) for side in sides)
            return _without_originals(default.compare(a.image, b.image, method=method), a, b)

        return respond(await service.admission.run(work))


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One of the two images; ``image`` is a thumbnail if ``is_original`` is false."""

    image: bytes | RgbImage
    sha256: str
    is_original: bool = True


def _side(service: Service, side: RequestImage) -> _Side:
    if side.image_id is None:
        return _Side(side.data, hashlib.sha256(side.data).hexdigest())
    collection = service.collections.get(side.collection or DEFAULT)
    sha256 = collection.get(side.image_id).sha256
    original = collection.original(side.image_id)
    if original is None:
        return _Side(collection.stored_pixels(side.image_id), sha256, is_original=False)
    with original:
        return _Side(original.read(), sha256)


def _without_originals(comparison: Comparison, a: _Side, b: _Side) -> Comparison:
    """The comparison; if an original is missing, only equal hashes are ``identical``."""
    if a.is_original and b.is_original:
        return comparison
    if a.sha256 and a.sha256 == b.sha256:
        return replace(comparison, relation="identical", note="")
    if comparison.relation == "identical":
        return replace(comparison, relation="edited copy", note=LOOKS_THE_SAME)
    return comparison


async def _read(service: Service, request: Request, reserve: ReserveBytes) -> tuple[list[RequestImage], str]:
    kind = upload.content_type(request)
    if kind == FORM:
        form = await request_images.read_form(service, request, reserve, {"a": 1, "b": 1})
        values = request_images.parse_text_fields(form.texts, {"method": str})
        method = requests.read(requests.CompareFields, values).method
        return [RequestImage(form.all("a")[0]), RequestImage(form.all("b")[0])], method
    if kind == JSON:
        read = partial(requests.read, requests.CompareRequest)
        body = await request_images.read_json(service, request, reserve, read)
        images = await request_images.load_all(service, [(body.a, "a"), (body.b, "b")], reserve)
        return [request_images.available(image) for image in images], body.method
    raise upload.wrong_type(request, JSON, FORM)
