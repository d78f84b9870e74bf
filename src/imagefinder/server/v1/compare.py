"""``POST /v1/compare``: two pictures against each other; nothing is kept."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from imagefinder.server import upload
from imagefinder.server.collections import DEFAULT
from imagefinder.server.errors import responses
from imagefinder.server.upload import FORM, JSON, Hold
from imagefinder.server.v1 import pictures, schemas
from imagefinder.server.v1.images import METHOD_CODES, PICTURE_CODES
from imagefinder.server.v1.pictures import Given
from imagefinder.server.v1.service import Service

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


def router(service: Service) -> APIRouter:
    """The endpoint that compares."""
    routes = APIRouter(tags=["search"])

    @routes.post(
        "/v1/compare",
        operation_id="compare",
        summary="Two pictures against each other; nothing is kept",
        response_model=schemas.Compared,
        responses=responses(
            ("unknown_collection", "unknown_image", "unknown_method", "not_ready", *PICTURE_CODES, *METHOD_CODES)
        ),
        openapi_extra=_BODY,
    )
    async def compare(request: Request) -> JSONResponse:
        with service.gate.admit() as hold:
            sides, method = await _read(service, request, hold)

            def work() -> dict[str, Any]:
                default = service.collections.get(DEFAULT)
                default.method(method)  # a method that is not there is told before a picture is read
                a, b = (
                    side.data
                    if side.image_id is None
                    else service.collections.get(side.collection or DEFAULT).stored_pixels(side.image_id)
                    for side in sides
                )
                return default.compare(a, b, method=method).to_dict()

            return JSONResponse(await service.gate.run(work))

    return routes


async def _read(service: Service, request: Request, hold: Hold) -> tuple[list[Given], str]:
    kind = upload.content_type(request)
    if kind == FORM:
        form = await pictures.read_form(service, request, hold, {"a": 1, "b": 1})
        values = pictures.from_texts(form.texts, {"method": str})
        method = schemas.read(schemas.MethodOnly, values).method
        return [Given(form.all("a")[0]), Given(form.all("b")[0])], method
    if kind == JSON:
        asked = schemas.read(schemas.CompareForm, await pictures.read_json(service, request, hold))
        return [
            await pictures.given(service, asked.a, hold, "a"),
            await pictures.given(service, asked.b, hold, "b"),
        ], asked.method
    raise upload.wrong_type(request, JSON, FORM)
