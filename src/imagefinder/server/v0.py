"""``POST /METHOD-similar-images``: the original endpoints, one for each installed method."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request

from imagefinder.core.errors import InputError, UnknownMethodError
from imagefinder.core.method import MethodState
from imagefinder.core.query import MAX_BOXES
from imagefinder.core.results import Box, Mode
from imagefinder.server.collections import DEFAULT
from imagefinder.server.errors import responses
from imagefinder.server.service import ServiceDep
from imagefinder.server.upload import FIELD, read_image

MAX_K = 1000

_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,18}")

_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {
                        FIELD: {"type": "string", "format": "binary", "description": "the query image"}
                    },
                }
            }
        },
    }
}

_CODES = (
    *("missing_image", "not_a_file", "several_images", "malformed_form", "upload_timeout", "image_too_large"),
    *("unsupported_media_type", "not_an_image", "empty_image", "damaged_image", "decode_timeout"),
    *("decoder_crashed", "invalid_image", "invalid_input"),
    *("invalid_parameter", "method_not_indexed", "fingerprint_mismatch", "model_missing", "model_error"),
    *("invalid_setting", "store_error", "busy"),
)


_PATH = "/{method}-similar-images"


def router(methods: Sequence[MethodState]) -> APIRouter:
    """The endpoints of these methods, and the answer for any other; which are installed is known at the start."""
    routes = APIRouter(tags=["search"])
    for state in methods:
        routes.add_api_route(
            _PATH.format(method=state.name),
            similar_images,
            methods=["POST"],
            operation_id=f"{state.name}_similar_images",
            summary=f"Most similar images by {state.name}",
            description=f"{state.summary}. Returns the ids of the most similar images, best first.",
            response_description="The ids, best first; whole numbers as numbers",
            responses=responses(_CODES),
            openapi_extra=_FORM,
        )
    routes.add_api_route(_PATH, unknown_method, methods=["POST"], include_in_schema=False)
    return routes


def unknown_method(service: ServiceDep, method: str) -> None:
    raise UnknownMethodError(method, [state.name for state in service.collections.get(DEFAULT).methods()])


async def similar_images(
    service: ServiceDep,
    request: Request,
    k: Annotated[int, Query(ge=1, le=MAX_K, description="how many ids at most")] = 3,
    box: Annotated[
        list[str] | None,
        Query(
            max_length=MAX_BOXES,
            description="x,y,width,height in pixels: only this region of the image counts; repeatable",
        ),
    ] = None,
) -> list[int | str]:
    method = request.scope["path"].rpartition("/")[2].removesuffix("-similar-images")
    boxes = [_box(text) for text in box or ()]
    collection = service.collections.get(DEFAULT)
    with service.admission.admit() as hold:
        picture = await read_image(request, max_bytes=service.settings.max_image_bytes, hold=hold)
        result = await service.admission.run(
            lambda: collection.search(
                picture,
                method=method,
                k=k,
                ranking="matches",
                evalues=False,
                boxes=boxes,
                mode=cast(Mode, service.settings.original_mode),
            )
        )
    service.readiness.worked(method)
    service.metrics.observe_search(result)
    return [plain_id(image_id) for image_id in result.ids]


def _box(text: str) -> Box:
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"a box is x,y,width,height in pixels, not {text[:100]!r}") from None
    return x, y, width, height


def plain_id(image_id: str) -> int | str:
    """The id as it stood in the user's data: a whole number as a number, anything else as text.

    Only what a 64-bit integer would be written as counts: ``"17"`` gives 17; ``"007"``, ``"1.0"`` and
    ``"+1"`` stay text, because a number would not lead back to them.
    """
    if _WHOLE_NUMBER.fullmatch(image_id) and -(2**63) <= int(image_id) < 2**63:
        return int(image_id)
    return image_id
