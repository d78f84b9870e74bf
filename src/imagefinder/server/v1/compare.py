"""``POST /v1/compare``: two images compared; nothing is stored."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from imagefinder.core.results import Comparison
from imagefinder.server import upload
from imagefinder.server.collections import DEFAULT
from imagefinder.server.errors import responses
from imagefinder.server.service import Service, ServiceDep
from imagefinder.server.upload import FORM, JSON, Hold
from imagefinder.server.v1 import pictures, requests
from imagefinder.server.v1.answers import respond
from imagefinder.server.v1.images import METHOD_CODES, PICTURE_CODES
from imagefinder.server.v1.pictures import Given

_BINARY = {"type": "string", "format": "binary"}

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {"$ref": "#/components/schemas/CompareForm"},
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
                        "method": {"type": "string", "minLength": 1, "maxLength": 100, "default": "sift"},
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
    summary="Compare two images; nothing is stored",
    response_model=Comparison,
    responses=responses(
        ("unknown_collection", "unknown_image", "unknown_method", "not_ready", *PICTURE_CODES, *METHOD_CODES)
    ),
    openapi_extra=_BODY,
)
async def compare(service: ServiceDep, request: Request) -> JSONResponse:
    with service.admission.admit() as hold:
        sides, method = await _read(service, request, hold)

        def work() -> Comparison:
            default = service.collections.get(DEFAULT)
            default.method(method)  # an unknown method is reported before an image is read
            a, b = (
                side.data
                if side.image_id is None
                else service.collections.get(side.collection or DEFAULT).stored_pixels(side.image_id)
                for side in sides
            )
            return default.compare(a, b, method=method)

        return respond(await service.admission.run(work))


async def _read(service: Service, request: Request, hold: Hold) -> tuple[list[Given], str]:
    kind = upload.content_type(request)
    if kind == FORM:
        form = await pictures.read_form(service, request, hold, {"a": 1, "b": 1})
        values = pictures.from_texts(form.texts, {"method": str})
        method = requests.read(requests.MethodOnly, values).method
        return [Given(form.all("a")[0]), Given(form.all("b")[0])], method
    if kind == JSON:
        asked = requests.read(requests.CompareForm, await pictures.read_json(service, request, hold))
        return [
            await pictures.given(service, asked.a, hold, "a"),
            await pictures.given(service, asked.b, hold, "b"),
        ], asked.method
    raise upload.wrong_type(request, JSON, FORM)
